//! Platforms: the systems that an image is built for, and the nodes that run it.

use std::{fmt, str::FromStr};

use crate::{quote::Quoted, string_value::string_value};

/// An operating system and a processor architecture: `linux/amd64`, `linux/arm64/v8`.
///
/// The terms are those of the [OCI image
/// index](https://github.com/opencontainers/image-spec/blob/main/image-index.md): Go's `GOOS` and
/// `GOARCH`, and a variant of the processor.
///
/// ```
/// use choreo_registry::image::Platform;
///
/// let platform: Platform = "linux/arm64/v8".parse()?;
/// assert_eq!(platform.os(), "linux");
/// assert_eq!(platform.architecture(), "arm64");
/// assert_eq!(platform.variant(), Some("v8"));
/// assert_eq!(platform.as_str(), "linux/arm64/v8");
///
/// assert!(platform.serves(&"linux/arm64".parse()?));
/// assert!(!platform.serves(&"linux/amd64".parse()?));
/// # Ok::<(), choreo_registry::image::ParsePlatformError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Platform {
    text: String,
    os_end: usize,
    architecture_end: usize,
}

impl Platform {
    /// Returns the operating system.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.text[..self.os_end]
    }

    /// Returns the processor architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.text[self.os_end + 1..self.architecture_end]
    }

    /// Returns the variant of the architecture, if one is set.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.text.get(self.architecture_end + 1..)
    }

    /// Returns the platform as `os/architecture` or `os/architecture/variant`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the platform in the spelling that nodes compare: `x86_64` becomes `amd64`, `aarch64`
    /// and `arm64/v8` become `arm64`, `armhf` and `arm` become `arm/v7`, `macos` becomes `darwin`.
    ///
    /// ```
    /// use choreo_registry::image::Platform;
    ///
    /// let platform: Platform = "Linux/x86_64".parse()?;
    /// assert_eq!(platform.normalized().as_str(), "linux/amd64");
    /// # Ok::<(), choreo_registry::image::ParsePlatformError>(())
    /// ```
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (os, architecture, variant) = normal(self);
        let mut text = format!("{os}/{architecture}");
        if !variant.is_empty() {
            text.push('/');
            text.push_str(&variant);
        }
        Self {
            os_end: os.len(),
            architecture_end: os.len() + 1 + architecture.len(),
            text,
        }
    }

    /// Returns `true` if a node of the platform `node` runs an image for this one, by containerd's
    /// rule: both are [normalised](Self::normalized), then operating system and architecture are
    /// equal and the variant is the node's or an older one. A node of `amd64` also runs `386`, and
    /// a node of `arm64` also runs `arm`.
    ///
    /// This is `platforms.Only` of [containerd/platforms](https://github.com/containerd/platforms)
    /// 1.0.0-rc.5. Versions and features of the operating system are ignored: they matter only on
    /// Windows.
    ///
    /// ```
    /// use choreo_registry::image::Platform;
    ///
    /// let serves = |image: &str, node: &str| -> Result<bool, Box<dyn std::error::Error>> {
    ///     Ok(image.parse::<Platform>()?.serves(&node.parse()?))
    /// };
    /// assert!(serves("linux/arm/v6", "linux/arm/v7")?);
    /// assert!(!serves("linux/arm/v7", "linux/arm/v6")?);
    /// // A node that names no variant is of the oldest.
    /// assert!(!serves("linux/amd64/v2", "linux/amd64")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn serves(&self, node: &Self) -> bool {
        let (os, architecture, variant) = normal(self);
        let (node_os, node_architecture, node_variant) = normal(node);
        if os != node_os {
            return false;
        }
        let (architecture, variant) = (architecture.as_str(), variant.as_str());
        match node_architecture.as_str() {
            "amd64" => match architecture {
                "amd64" => variant == node_variant || is_older_amd64(variant, &node_variant),
                "386" => variant.is_empty(),
                _ => false,
            },
            "arm" => {
                architecture == "arm"
                    && (variant == node_variant || is_older_arm(variant, &node_variant))
            }
            "arm64" => match (arm64_version(&node_variant), architecture) {
                (Some(node), "arm64") => {
                    arm64_version(variant).is_some_and(|image| is_older_arm64(image, node))
                }
                (Some(_), "arm") => variant == "v8" || is_older_arm(variant, "v8"),
                _ => false,
            },
            _ => architecture == node_architecture && variant == node_variant,
        }
    }
}

/// Returns operating system, architecture and variant in the spelling that is compared.
fn normal(platform: &Platform) -> (String, String, String) {
    let os = match platform.os().to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    };
    let architecture = platform.architecture().to_ascii_lowercase();
    let variant = platform.variant().unwrap_or_default().to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (os, architecture.to_owned(), variant.to_owned())
}

/// Returns the number of a variant as it is compared: 3 for `v3`.
fn number(variant: &str) -> Option<i64> {
    variant.strip_prefix('v').unwrap_or(variant).parse().ok()
}

/// Returns the number if it has the one spelling of older variants: `v3`, not `v03`.
fn canonical(variant: &str) -> Option<i64> {
    let number = variant.strip_prefix('v')?.parse().ok()?;
    (variant == format!("v{number}")).then_some(number)
}

/// `amd64` variants start at `v1`, which is written as no variant.
fn is_older_amd64(image: &str, node: &str) -> bool {
    let image = if image.is_empty() {
        Some(1)
    } else {
        canonical(image)
    };
    match (image, number(node)) {
        (Some(image), Some(node)) => (1..node).contains(&image),
        _ => false,
    }
}

/// 32-bit nodes run images for their version or an older one, from `v5` on.
fn is_older_arm(image: &str, node: &str) -> bool {
    match (canonical(image), number(node)) {
        (Some(image), Some(node)) => (5..node).contains(&image),
        _ => false,
    }
}

/// Returns the version and revision of an existing 64-bit variant. No variant is `v8`.
fn arm64_version(variant: &str) -> Option<(u8, u8)> {
    let version = variant
        .strip_prefix('v')
        .or(variant.is_empty().then_some("8"))?;
    let (major, minor) = match version.split_once('.') {
        None => (version, "0"),
        Some((_, "0")) => return None,
        Some(parts) => parts,
    };
    match (major, minor.as_bytes()) {
        ("8", [digit @ b'0'..=b'9']) => Some((8, digit - b'0')),
        ("9", [digit @ b'0'..=b'7']) => Some((9, digit - b'0')),
        _ => None,
    }
}

/// Version 9.n includes the features of 8.(n + 5), and there is no 8.10.
fn is_older_arm64(image: (u8, u8), node: (u8, u8)) -> bool {
    match (image, node) {
        ((8, image), (9, node)) => image <= (node + 5).min(9),
        ((image_major, image), (node_major, node)) => image_major == node_major && image <= node,
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= PLATFORM_PART_MAX
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture, ..]
                if parts.len() <= 3 && parts.iter().all(|part| is_part(part)) =>
            {
                Ok(Self {
                    text: text.to_owned(),
                    os_end: os.len(),
                    architecture_end: os.len() + 1 + architecture.len(),
                })
            }
            _ => Err(ParsePlatformError {
                input: text.to_owned(),
            }),
        }
    }
}

string_value!(
    Platform,
    ParsePlatformError,
    "a platform such as linux/amd64"
);

const PLATFORM_PART_MAX: usize = 32;

/// The error returned if a text is not a valid [`Platform`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParsePlatformError {
    input: String,
}

impl fmt::Display for ParsePlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = Quoted::new(&self.input);
        write!(
            f,
            "platform {input} is not of the form os/architecture: write linux/amd64"
        )
    }
}

impl std::error::Error for ParsePlatformError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Accessors slice the text by position: no text may panic.
        #[test]
        fn any_text_is_a_platform_or_refused(text in "\\PC{0,12}(/\\PC{0,12}){0,3}") {
            if let Ok(platform) = text.parse::<Platform>() {
                let mut parts = vec![platform.os(), platform.architecture()];
                parts.extend(platform.variant());
                prop_assert_eq!(parts.join("/"), text);
            }
        }

        #[test]
        fn what_is_normal_stays_so(text in "(linux|MacOS|x)/(x86_64|AMD64|aarch64|armhf|arm|i386|z)(/v?[0-9](\\.[0-9])?)?") {
            let once = text.parse::<Platform>().unwrap().normalized();
            prop_assert_eq!(once.normalized(), once.clone());
            prop_assert_eq!(once.as_str().parse(), Ok(once));
        }
    }

    #[test]
    fn platforms_parse_and_display() {
        for text in [
            "linux/amd64",
            "linux/arm64/v8",
            "windows/amd64",
            "linux/arm/v7",
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "a/b/c/d",
            "linux/am d64",
            "l\n/x",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
        assert_eq!(
            "linux".parse::<Platform>().unwrap_err().to_string(),
            r#"platform "linux" is not of the form os/architecture: write linux/amd64"#
        );
    }

    #[test]
    fn a_platform_has_two_parts_or_three() {
        for (text, parts) in [
            ("linux/arm64/v8", ("linux", "arm64", Some("v8"))),
            ("js/wasm", ("js", "wasm", None)),
        ] {
            let platform: Platform = text.parse().unwrap();
            let read = (platform.os(), platform.architecture(), platform.variant());
            assert_eq!((read, platform.as_str()), (parts, text));
        }
    }

    /// A sample of `linux/` images and nodes; the differential test has a million.
    #[test]
    fn nodes_run_what_containerd_lets_them_run() {
        let serves = |image: &str, node: &str| {
            let platform = |text: &str| format!("linux/{text}").parse::<Platform>().unwrap();
            platform(image).serves(&platform(node))
        };
        for (image, node) in [
            ("amd64", "amd64"),
            ("x86_64", "amd64"),
            ("AMD64/v1", "amd64"),
            ("386", "amd64"),
            ("i386", "amd64/v3"),
            ("amd64", "amd64/v3"),
            ("amd64/v2", "amd64/v3"),
            ("aarch64", "arm64"),
            ("arm64", "arm64/v8"),
            ("arm64/v8", "arm64"),
            ("arm64/v8.5", "arm64/v9"),
            ("arm/v7", "arm64"),
            ("arm/v6", "arm64/v9"),
            ("arm", "arm/v7"),
            ("armel", "arm"),
            ("arm/v5", "arm/v8"),
            ("s390x", "s390x"),
        ] {
            assert!(serves(image, node), "{image} on {node}");
        }
        for (image, node) in [
            ("amd64/v2", "amd64"),
            ("amd64/v3", "amd64/v2"),
            ("amd64", "386"),
            ("amd64/v02", "amd64/v3"),
            ("amd64", "arm64"),
            ("arm64", "arm/v8"),
            ("arm64/v9", "arm64"),
            ("arm64/v8.6", "arm64/v9"),
            ("arm/v7", "arm/v6"),
            ("arm/v4", "arm/v7"),
            ("riscv64/rva22", "riscv64"),
        ] {
            assert!(!serves(image, node), "{image} on {node}");
        }
        let (windows, linux) = ("windows/amd64", "linux/amd64");
        assert!(
            !windows
                .parse::<Platform>()
                .unwrap()
                .serves(&linux.parse().unwrap())
        );
    }
}
