//! The same operations, the same answers.

use choreo_registry::image::MediaType;
use choreo_registry_client::{AccessClass, ErrorKind};
use choreo_test_registry::{Image, Platform};

use super::{Login, RealRegistry, push::Pusher};
use crate::{PASSWORD, cart};

const REPOSITORY: &str = "team/shop/cart";

/// A registry with an image under `one`, an index under `two`, and the digests of both.
struct Filled {
    registry: RealRegistry,
    image: choreo_registry::Digest,
    index: choreo_registry::Digest,
}

async fn filled() -> Vec<Filled> {
    let mut all = Vec::new();
    for registry in RealRegistry::all().await {
        let pusher: Pusher = registry.pusher(REPOSITORY).await;
        let image = pusher.image("one", &cart()).await;
        let index = pusher.index("two", &platforms()).await;
        all.push(Filled {
            registry,
            image,
            index,
        });
    }
    assert!(all.len() >= 3, "the test registry at least is always there");
    all
}

fn platforms() -> [(Platform, Image); 2] {
    ["linux/amd64", "linux/arm64"].map(|text| {
        let platform: Platform = text.parse().unwrap();
        let image = Image::builder()
            .platform(platform.clone())
            .user("10001")
            .exposed_port("8080/tcp")
            .layer(text);
        (platform, image.build())
    })
}

#[tokio::test]
async fn an_image_is_the_same_in_every_registry() {
    for filled in filled().await {
        let Filled {
            registry,
            image,
            index,
        } = filled;
        let who = format!("{}, {:?}", registry.name, registry.login);
        let client = registry.client(Some(PASSWORD));
        let name = |reference: &str| registry.image(&format!("{REPOSITORY}{reference}"));

        let single = client.resolve(&name(":one")).await;
        let single = single.unwrap_or_else(|error| panic!("{who}: {error}"));
        assert_eq!(single.digest(), image, "{who}");
        assert_eq!(single.media_type(), MediaType::OciManifest, "{who}");

        let several = client.resolve(&name(":two")).await.unwrap();
        assert_eq!(several.digest(), index, "{who}");
        assert_eq!(several.media_type(), MediaType::OciIndex, "{who}");
        let seen: Vec<_> = several.platforms().iter().map(|p| p.as_str()).collect();
        assert_eq!(seen, ["linux/amd64", "linux/arm64"], "{who}");

        let pinned = client.resolve(&name(&format!("@{index}"))).await.unwrap();
        assert_eq!(pinned, several, "{who}");

        for (tag, platforms) in [(":one", 1), (":two", 2)] {
            let inspected = client.inspect(&name(tag)).await.unwrap();
            assert_eq!(inspected.user(), Some("10001"), "{who} {tag}");
            assert_eq!(inspected.exposed_ports()[0].port(), 8080, "{who} {tag}");
            assert_eq!(inspected.platforms().len(), platforms, "{who} {tag}");
        }
    }
}

/// Guards that each outcome has the same class in every registry, except for the listed
/// differences.
#[tokio::test]
async fn outcomes_have_the_same_class_in_every_registry() {
    let mut different = Vec::new();
    for Filled { registry, .. } in filled().await {
        let who = format!("{}, {:?}", registry.name, registry.login);
        let name = |text: &str| Some(registry.image(text));
        let right = registry.client(Some(PASSWORD));
        let wrong = registry.client(Some("wrong"));
        let nobody = registry.client(None);
        let open = registry.login == Login::Open;
        // Without a login there is nothing to refuse, and nothing that a credential proves.
        let or_open = |closed, open_class| if open { open_class } else { closed };

        let allowed = AccessClass::PullAllowed;
        let missing = AccessClass::MissingOrHidden;
        let refused = or_open(AccessClass::CredentialRefused, allowed);
        // A token server issues an anonymous token for a request without a repository.
        let anonymous = match registry.login {
            Login::Password => AccessClass::LoginRequired,
            Login::Open | Login::Token => AccessClass::LoginAccepted,
        };
        let table = [
            (
                &right,
                None,
                or_open(AccessClass::LoginAccepted, AccessClass::NotCheckable),
            ),
            (&right, name("team/shop/cart:one"), allowed),
            (&right, name("team/shop/cart:two"), allowed),
            (&right, name("team/shop/cart"), allowed),
            (&right, name("team/shop/cart:missing"), missing),
            (&right, name("team/shop/missing:one"), missing),
            (&right, name("team/shop/missing"), missing),
            (
                &wrong,
                None,
                or_open(AccessClass::CredentialRefused, AccessClass::NotCheckable),
            ),
            (&wrong, name("team/shop/cart:one"), refused),
            (&nobody, None, anonymous),
            (
                &nobody,
                name("team/shop/cart:one"),
                or_open(AccessClass::LoginRequired, allowed),
            ),
        ];
        for (client, image, expected) in table {
            let access = client.verify(image.as_ref()).await;
            if access.class() != expected {
                different.push(format!("{who}: {image:?}: {expected} expected: {access}"));
            }
        }
        let error = right
            .resolve(&registry.image("team/shop/cart:missing"))
            .await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound, "{who}");
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
