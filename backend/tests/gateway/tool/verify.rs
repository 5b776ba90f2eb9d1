//! `verify` finds what a gateway could not use, and deletes it only if it is told to.

use super::{Place, SHARED, objects, refused, told, tool, url};

/// Damages one object after the other, each in its way. Returns what is said of each.
fn damage(place: &Place) -> Vec<(String, &'static str)> {
    let paths = objects(&place.store());
    let read = |n: usize| std::fs::read(&paths[n]).unwrap();
    let mut flipped = read(0);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut later = read(4);
    later[3] = b'9';
    let damaged = [
        (flipped, "was altered"),
        (read(1)[..50].to_vec(), "is cut off after 50 bytes"),
        (read(2)[..90].to_vec(), "is 90 bytes long instead of"),
        (read(5), "holds the vector of the key"),
        (later, "is of a format that this program does not know"),
    ];
    let name = |n: usize| paths[n].file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected = Vec::new();
    for (n, (object, words)) in damaged.into_iter().enumerate() {
        std::fs::write(&paths[n], object).unwrap();
        expected.push((name(n), words));
    }
    expected
}

#[test]
fn each_damage_is_named_and_the_rest_is_good() {
    let place = Place::stocked(12);
    let expected = damage(&place);
    for foreign in ["v1/notes", "v1/ab/README", "other/thing"] {
        let path = place.store().join(foreign);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let output = tool(&place.store(), &[], &["verify"]);
    let (status, said) = refused(&output);
    assert_eq!(status, Some(1), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), expected.len(), "{text}");
    for (line, (name, words)) in text.lines().zip(&expected) {
        assert!(
            line.contains(name) && line.contains(words),
            "{line}: {words}"
        );
    }
    for foreign in ["v1/notes", "v1/ab/README", "other"] {
        assert!(
            said.contains(&format!("no gateway wrote it: {foreign}\n")),
            "{said}"
        );
    }
    assert!(
        said.contains("12 objects") && said.contains("5 bad"),
        "{said}"
    );
    assert_eq!(objects(&place.store()).len(), 15);
}

#[test]
fn what_is_bad_is_deleted_on_demand_but_for_formats_of_other_releases() {
    let place = Place::stocked(12);
    damage(&place);
    let output = tool(&place.store(), &[], &["verify", "--delete-bad"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let fates: Vec<_> = text
        .lines()
        .map(|line| line.rsplit("; ").next().unwrap())
        .collect();
    assert_eq!(fates, ["deleted", "deleted", "deleted", "deleted", "kept"]);
    assert_eq!(objects(&place.store()).len(), 8);
    assert_eq!(
        tool(&place.store(), &[], &["verify"]).status.code(),
        Some(1)
    );
}

#[test]
fn a_verification_goes_on_where_it_was_and_forgets_no_finding() {
    let place = Place::stocked(12);
    let paths = objects(&place.store());
    let key = |n: usize| paths[n].file_name().unwrap().to_str().unwrap().to_owned();
    let position = |store: &str| {
        format!(
            r#"{{"store":"{store}","after":"{}","checked":7,"bytes":9,"bad":2,"deleted":0,"unread":0}}"#,
            key(6)
        )
    };
    let file = place.file("position", position(&url(&place.store())));
    let output = tool(&place.store(), &[], &["verify", "--resume", &file]);
    let (status, said) = refused(&output);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("12 objects") && said.contains("2 bad"),
        "{said}"
    );
    // It has come to its end, so the next one begins anew.
    told(&tool(&place.store(), &[], &["verify", "--resume", &file]));
    assert!(!std::path::Path::new(&file).exists());

    for (text, words) in [
        (
            position("file:///other"),
            "is of another store, file:///other",
        ),
        ("{}".to_owned(), "is no file that --resume has written"),
        (
            position(&url(&place.store())).replace(&key(6), "zz"),
            "is no file",
        ),
    ] {
        let file = place.file("position", &text);
        let (status, said) = refused(&tool(&place.store(), &[], &["verify", "--resume", &file]));
        assert_eq!(status, Some(64), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn damaged_objects_are_left_out_of_exports_and_written_anew_by_imports() {
    let place = Place::stocked(12);
    damage(&place);
    let output = tool(&place.store(), &[], &["export"]);
    assert_eq!(told(&output).lines().count(), 7);
    assert!(refused(&output).1.contains("5 left out: unusable"));
    let file = place.path("vectors.jsonl");
    let again = tool(&place.store(), SHARED, &["import", &file, "--model", "m"]);
    let words = "5 written, 5 in place of purged, outdated or damaged ones, 7 there already\n";
    assert!(told(&again).ends_with(words), "{}", told(&again));
    told(&tool(&place.store(), &[], &["verify"]));
}
