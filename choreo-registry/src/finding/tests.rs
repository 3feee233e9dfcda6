use super::*;

#[test]
fn codes_are_in_order_and_named_after_their_variants() {
    let names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for code in Code::ALL {
        let kebab: String = format!("{code:?}")
            .chars()
            .flat_map(|c| [c.is_ascii_uppercase().then_some('-'), Some(c)])
            .flatten()
            .collect();
        assert_eq!(
            code.as_str(),
            kebab.to_ascii_lowercase().trim_start_matches('-')
        );
        assert_eq!(code.as_str().parse(), Ok(*code));
    }
}

#[test]
fn meanings_are_sentences_that_stand_in_a_table() {
    for code in Code::ALL {
        let meaning = code.meaning();
        assert!(meaning.ends_with('.'), "{code}: {meaning}");
        assert!(!meaning.contains(['|', '\n']), "{code}: {meaning}");
    }
}

#[test]
fn codes_and_severities_are_strings_on_the_wire() {
    let json = r#"["loopback-host","info"]"#;
    let read: (Code, Severity) = serde_json::from_str(json).unwrap();
    assert_eq!(read, (Code::LoopbackHost, Severity::Info));
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    for (json, error) in [
        (
            r#""x""#,
            "unknown code \"x\" of a finding: it may be one of a later version at line 1 column 3",
        ),
        (
            "1",
            "invalid type: integer `1`, expected the code of a finding, such as \
             \"short-lived-password\" at line 1 column 1",
        ),
    ] {
        let found = serde_json::from_str::<Code>(json).unwrap_err();
        assert_eq!(found.to_string(), error);
    }
    assert_eq!(
        serde_json::from_str::<Severity>("1")
            .unwrap_err()
            .to_string(),
        "invalid type: integer `1`, expected \"info\" or \"warning\" at line 1 column 1",
    );
    assert_eq!(
        serde_json::from_str::<Severity>(r#""fatal""#)
            .unwrap_err()
            .to_string(),
        "unknown severity \"fatal\": write info or warning at line 1 column 7",
    );
}

#[test]
fn a_finding_displays_as_one_line_and_serialises_as_four_strings() {
    let finding = Finding::new(Code::LoopbackHost, "it is local", "enter another");
    assert_eq!(
        finding.to_string(),
        "warning: it is local: enter another (loopback-host)"
    );
    assert_eq!(
        serde_json::to_string(&finding).unwrap(),
        r#"{"code":"loopback-host","severity":"warning","message":"it is local","help":"enter another"}"#,
    );
    assert_eq!(finding.code(), Code::LoopbackHost);
    assert_eq!(finding.severity(), Severity::Warning);
    assert_eq!(finding.message(), "it is local");
    assert_eq!(finding.help(), "enter another");
}
