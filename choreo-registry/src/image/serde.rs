//! JSON of a resolved image, written by hand: the value types do not use the derive macros.

use std::fmt;

use serde_core::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
    ser::SerializeStruct as _,
};

use super::{ExposedPort, ResolvedImage};

const FIELDS: [&str; 6] = [
    "digest",
    "media_type",
    "platforms",
    "user",
    "exposed_ports",
    "size",
];

impl Serialize for ResolvedImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut image = serializer.serialize_struct("ResolvedImage", FIELDS.len())?;
        image.serialize_field("digest", &self.digest)?;
        image.serialize_field("media_type", &self.media_type)?;
        image.serialize_field("platforms", &self.platforms)?;
        match &self.user {
            Some(user) => image.serialize_field("user", user)?,
            None => image.skip_field("user")?,
        }
        image.serialize_field("exposed_ports", &self.exposed_ports)?;
        match &self.size {
            Some(size) => image.serialize_field("size", size)?,
            None => image.skip_field("size")?,
        }
        image.end()
    }
}

impl<'de> Deserialize<'de> for ResolvedImage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("ResolvedImage", &FIELDS, ImageVisitor)
    }
}

struct ImageVisitor;

impl<'de> Visitor<'de> for ImageVisitor {
    type Value = ResolvedImage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resolved image")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut digest, mut media_type) = (None, None);
        let (mut platforms, mut ports) = (None, None);
        let (mut user, mut size) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "digest" => once(&mut digest, "digest", &mut map)?,
                "media_type" => once(&mut media_type, "media_type", &mut map)?,
                "platforms" => once(&mut platforms, "platforms", &mut map)?,
                "user" => once(&mut user, "user", &mut map)?,
                "exposed_ports" => once(&mut ports, "exposed_ports", &mut map)?,
                "size" => once(&mut size, "size", &mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let digest = digest.ok_or_else(|| de::Error::missing_field("digest"))?;
        let media_type = media_type.ok_or_else(|| de::Error::missing_field("media_type"))?;
        Ok(ResolvedImage::new(digest, media_type)
            .with_platforms(platforms.unwrap_or_default())
            .with_user(user.flatten())
            .with_exposed_ports(ports.unwrap_or_default())
            .with_size(size.flatten()))
    }
}

fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    field: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(de::Error::duplicate_field(field));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

impl Serialize for ExposedPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExposedPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, image::MediaType};

    fn image() -> ResolvedImage {
        ResolvedImage::new(Digest::sha256_of(b"hello"), MediaType::OciIndex)
    }

    #[test]
    fn an_image_comes_back_from_json() {
        let full = image()
            .with_platforms(vec!["linux/amd64".parse().unwrap()])
            .with_user(Some("app".to_owned()))
            .with_exposed_ports(vec!["8080/tcp".parse().unwrap()])
            .with_size(Some(7));
        let json = serde_json::to_string(&full).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","#,
                r#""media_type":"application/vnd.oci.image.index.v1+json","platforms":["linux/amd64"],"#,
                r#""user":"app","exposed_ports":["8080/tcp"],"size":7}"#
            )
        );
        assert_eq!(serde_json::from_str::<ResolvedImage>(&json).unwrap(), full);

        let bare = serde_json::to_string(&image()).unwrap();
        assert!(!bare.contains("user") && !bare.contains("size"));
        assert_eq!(
            serde_json::from_str::<ResolvedImage>(&bare).unwrap(),
            image()
        );
    }

    #[test]
    fn rows_of_a_newer_release_are_read_and_broken_ones_are_not() {
        let json = serde_json::to_string(&image()).unwrap();
        let newer = json.replacen('{', r#"{"newer":{"a":[1]},"user":null,"#, 1);
        assert_eq!(
            serde_json::from_str::<ResolvedImage>(&newer).unwrap(),
            image()
        );

        let twice = json.replacen('{', r#"{"size":1,"size":2,"#, 1);
        let error = serde_json::from_str::<ResolvedImage>(&twice).unwrap_err();
        assert!(
            error.to_string().starts_with("duplicate field `size`"),
            "{error}"
        );
        let error = serde_json::from_str::<ResolvedImage>("{}").unwrap_err();
        assert!(
            error.to_string().starts_with("missing field `digest`"),
            "{error}"
        );
        for (json, text) in [
            (
                "[1]",
                "invalid type: sequence, expected a resolved image at line 1 column 1",
            ),
            (
                "7",
                "invalid type: integer `7`, expected a resolved image at line 1 column 1",
            ),
        ] {
            let error = serde_json::from_str::<ResolvedImage>(json).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}
