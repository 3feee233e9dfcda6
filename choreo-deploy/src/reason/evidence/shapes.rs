//! Shapes of secrets: tokens by their prefix, and runs that look random.
//!
//! The prefixes are those that vendors document for scanners, such as
//! <https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns>.

/// Prefixes that occur only in tokens. A token has at least sixteen more characters.
const PREFIXES: &[&str] = &[
    "AGE-SECRET-KEY-1",
    "AIza",
    "AKCp",
    "ATATT3",
    "ATBB",
    "ATCTT3",
    "CCIPAT_",
    "CCIPRJ_",
    "CFPAT-",
    "CLOJARS_",
    "EZAK",
    "EZTK",
    "FLWPUBK_TEST-",
    "FLWSECK",
    "FlyV1",
    "GOCSPX-",
    "GR1348941",
    "HRKU-",
    "LTAI",
    "NRAA-",
    "NRAK-",
    "NRII-",
    "NRJS-",
    "NRRA-",
    "PMAK-",
    "SG.",
    "apify_api_",
    "bkua_",
    "cfut_",
    "chd_",
    "cmVmd",
    "dckr_oat_",
    "dckr_pat_",
    "depot_",
    "doo_v1_",
    "dop_v1_",
    "dor_v1_",
    "dp.audit.",
    "dp.ct.",
    "dp.pt.",
    "dp.scim.",
    "dp.st.",
    "dt0c01.",
    "dt0s01.",
    "duffel_live_",
    "duffel_test_",
    "figd_",
    "figu_",
    "fio-u-",
    "fm1_",
    "fm2_",
    "fo1_",
    "gho_",
    "ghp_",
    "ghr_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glagent-",
    "glc_",
    "glcbt-",
    "gldt-",
    "glffct-",
    "glft-",
    "glimt-",
    "gloas-",
    "glpat-",
    "glptt-",
    "glrt-",
    "glsa_",
    "glsoat-",
    "gsk_",
    "hf_",
    "hvb.",
    "hvr.",
    "hvs.",
    "ico-",
    "lin_api_",
    "lin_oauth_",
    "napi_",
    "nfp_",
    "npm_",
    "ntn_",
    "ops_eyJ",
    "p8e-",
    "phc_",
    "phx_",
    "pk_live_",
    "pk_test_",
    "pnu_",
    "pplx-",
    "pscale_oauth_",
    "pscale_pw_",
    "pscale_tkn_",
    "pul-",
    "pypi-AgE",
    "r8_",
    "rdme_",
    "rk_live_",
    "rk_prod_",
    "rk_test_",
    "rpa_",
    "rubygems_",
    "s-s4t2",
    "sbp_",
    "sgp_",
    "shippo_live_",
    "shippo_test_",
    "shpat_",
    "shpca_",
    "shppa_",
    "shpss_",
    "sk-ant-",
    "sk-admin-",
    "sk-or-v1-",
    "sk-proj-",
    "sk-svcacct-",
    "sk_live_",
    "sk_prod_",
    "sk_test_",
    "sm_pat_",
    "sntrys_",
    "sntryu_",
    "sq0atp-",
    "sq0csp-",
    "sq0idp-",
    "sqa_",
    "sqp_",
    "squ_",
    "tfp_",
    "tskey-",
    "u-s4t2",
    "waka_",
    "whsec_",
    "xai-",
    "xapp-",
    "xkeysib-",
    "xoxa-",
    "xoxb-",
    "xoxe-",
    "xoxe.",
    "xoxo-",
    "xoxp-",
    "xoxr-",
    "xoxs-",
    "xsmtpsib-",
    "xwfp-",
    "ya29.",
    "zpka_",
];

/// Prefixes that are also parts of words. One run of at least this many letters and digits must
/// follow, with at least one letter and one digit.
const SHORT_PREFIXES: &[(&str, usize)] = &[
    ("A3T", 17),
    ("ABIA", 16),
    ("ABSK", 40),
    ("ACCA", 16),
    ("AKIA", 16),
    ("AKID", 16),
    ("API-", 24),
    ("AQVN", 24),
    ("ASIA", 16),
    ("EAA", 24),
    ("SCW", 17),
    ("SK", 32),
    ("b_", 24),
    ("cio", 32),
    ("dapi", 32),
    ("eyJ", 9),
    ("key-", 32),
    ("live_", 24),
    ("oy2", 43),
    ("pubkey-", 32),
    ("re_", 16),
    ("s.", 24),
    ("secret_", 24),
    ("sha256~", 32),
    ("sk-", 20),
    ("sl.", 32),
    ("t1.", 20),
    ("test_", 24),
    ("tk-us-", 24),
    ("tok_", 16),
];

fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.=+/~%".contains(&byte)
}

/// Returns the length of the token at the beginning of a text, if its prefix is known.
pub(super) fn token(text: &str) -> Option<usize> {
    let length = |from: usize| {
        let run = text.as_bytes()[from..].iter();
        run.take_while(|byte| is_token_char(**byte)).count()
    };
    let long = PREFIXES
        .iter()
        .any(|prefix| text.starts_with(prefix) && length(prefix.len()) >= 16);
    let short = || {
        SHORT_PREFIXES.iter().any(|(prefix, least)| {
            text.strip_prefix(prefix)
                .is_some_and(|rest| starts_random(rest, *least))
        })
    };
    let start = match text.find(':') {
        // The tokens of Telegram contain a colon.
        Some(colon) if is_telegram(text.as_bytes()) => colon + 1,
        _ if long || short() || is_inside(text.as_bytes()) => 0,
        _ => return None,
    };
    let end = start + length(start);
    Some(text[..end].trim_end_matches('.').len())
}

/// Returns `true` if the first characters contain the mark of a vendor: `.atlasv1.` of Terraform Cloud
/// after 14 characters, `Q~` of Azure after 3 and a digit.
fn is_inside(text: &[u8]) -> bool {
    let after = |at: usize, mark: &[u8]| text.get(at..).is_some_and(|rest| rest.starts_with(mark));
    let is_azure = after(4, b"Q~") && text[3].is_ascii_digit();
    (after(14, b".atlasv1.") || is_azure) && is_long(text)
}

/// Returns `true` for the token of a Telegram bot: 8 to 10 digits, `:AA` and 33 more characters.
fn is_telegram(text: &[u8]) -> bool {
    let digits = text
        .iter()
        .take(11)
        .take_while(|byte| byte.is_ascii_digit());
    let digits = digits.count();
    let rest = &text[digits..];
    (8..=10).contains(&digits) && rest.starts_with(b":AA") && is_long(&rest[1..])
}

fn is_long(text: &[u8]) -> bool {
    text.len() >= 24 && text[..24].iter().all(|byte| is_token_char(*byte))
}

fn starts_random(rest: &str, least: usize) -> bool {
    let run: Vec<u8> = rest
        .bytes()
        .take(least)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
        .collect();
    run.len() == least
        && run.iter().any(u8::is_ascii_alphabetic)
        && (run.iter().any(u8::is_ascii_digit) || least < 16)
}

/// Returns `true` if a run of letters, digits and `_-+/=` looks random: three kinds of characters, or
/// two in a longer run, that change often. In words, names of classes and paths they rarely change.
pub(super) fn is_random(run: &str) -> bool {
    let bytes = run.trim_end_matches('=').as_bytes();
    let kinds: Vec<u8> = bytes.iter().map(|byte| kind(*byte)).collect();
    let has = |kind: u8| kinds.contains(&kind);
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let digits = kinds.iter().filter(|kind| **kind == DIGIT).count();
    let is_mixed = has(UPPER) && has(LOWER) && has(DIGIT);
    if is_mixed {
        // Random text changes at 3 of 5 neighbours, and at least at 2 of 5 in a run of this length.
        let often = changes * 5 >= bytes.len() * 2;
        return (bytes.len() >= 20 && often && digits > 1) || (bytes.len() >= 32 && digits > 1);
    }
    // Without separators, which names of objects have. Hexadecimal runs have their own check.
    let is_plain = bytes.iter().all(u8::is_ascii_alphanumeric);
    is_plain && bytes.len() >= 32 && digits >= 4 && changes * 5 >= bytes.len() && !is_hex(run)
}

const UPPER: u8 = 0;
const LOWER: u8 = 1;
const DIGIT: u8 = 2;

fn kind(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => UPPER,
        b'a'..=b'z' => LOWER,
        b'0'..=b'9' => DIGIT,
        _ => 3,
    }
}

/// Returns `true` if a run is hexadecimal and as long as a key: 32 digits or more.
pub(super) fn is_hex(run: &str) -> bool {
    run.len() >= 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns `true` if the preceding text shows that a long hexadecimal number is not a secret: the
/// algorithm of a digest, a part of a path, or the word before an id.
pub(super) fn names_an_id(before: &str) -> bool {
    let before = before.trim_end_matches(['"', '\'', '=', ':', ' ', '@', '(', '[', '\\']);
    if before.ends_with('/') {
        return true;
    }
    let word = before
        .rsplit(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    [
        "blob",
        "checksum",
        "commit",
        "container",
        "containerd",
        "digest",
        "id",
        "image",
        "layer",
        "md5",
        "manifest",
        "revision",
        "sandbox",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
        "span",
        "task",
        "trace",
        "uid",
    ]
    .contains(&word.as_str())
        || word.ends_with("id") && word.len() < 16
}

/// Returns `true` if a word is more likely a secret than a word of a sentence.
pub(super) fn is_likely_value(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '"', '\'']);
    let has = |is: fn(char) -> bool| word.chars().any(is);
    let inner_capital = word.chars().skip(1).any(|c| c.is_ascii_uppercase());
    let is_number = word
        .chars()
        .all(|c| c.is_ascii_digit() || ":./".contains(c));
    word.len() >= 6
        && !is_number
        && (has(|c| c.is_ascii_digit())
            || (inner_capital && has(|c| c.is_ascii_lowercase()))
            || has(|c| "!$%&*+=#@^~".contains(c)))
}

/// Returns `true` if a run with slashes is base64 and not a path: it changes almost as often as random
/// text, and its slashes are far apart.
pub(super) fn is_random_path(run: &str) -> bool {
    let slashes = run.bytes().filter(|byte| *byte == b'/').count();
    slashes > 0 && run.len() >= 32 && slashes * 7 <= run.len() && {
        let bytes = run.as_bytes();
        let changes = bytes
            .windows(2)
            .filter(|pair| kind(pair[0]) != kind(pair[1]))
            .count();
        changes * 12 >= run.len() * 5 && is_random(run)
    }
}
