//! Bytes as keys and as the files that keep them.

use volttron_utils::keys::{KnownHosts, PublicKey, SecretKey, keystore};

/// The bytes as a key in any encoding, as a keystore and as a `known_hosts` file. A key is the same in all encodings,
/// what is written is read again, and no error repeats a secret.
pub fn keys(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for word in text.split_whitespace().take(64).chain([&*text]) {
        key(word);
    }
    match keystore::parse(data) {
        Ok(pair) => {
            assert!(pair.is_consistent());
            let again =
                keystore::parse(keystore::render(&pair).as_bytes()).expect("what is written can be read");
            assert_eq!(again.public, pair.public);
            assert_eq!(again.secret.as_bytes(), pair.secret.as_bytes());
        }
        Err(why) => {
            for secret in text.split('"').filter(|part| part.len() >= 8 && part.parse::<SecretKey>().is_ok())
            {
                assert!(!why.contains(secret), "{why}");
            }
        }
    }
    if let Ok(mut hosts) = KnownHosts::parse(&text) {
        let written = String::from_utf8(hosts.render().expect("texts can be written")).expect("JSON is text");
        let again = KnownHosts::parse(&written).expect("what is written can be read");
        assert!(again.iter().eq(hosts.iter()));
        let names: Vec<String> = hosts.iter().map(|(host, _)| host.to_owned()).collect();
        let own = PublicKey::from_bytes([7; 32]);
        for name in names {
            hosts.add(&name, own);
            assert_eq!(hosts.get_host(&name), Some(own));
            assert!(hosts.remove(&name) && hosts.get_host(&name).is_none());
        }
        assert_eq!(hosts.iter().count(), 0);
    }
}

fn key(text: &str) {
    let public = match text.parse::<PublicKey>() {
        Ok(key) => key,
        Err(error) => {
            assert!(text.len() < 40 || !error.to_string().contains(text), "{error}");
            assert!(text.parse::<SecretKey>().is_err(), "both kinds have the same encodings");
            return;
        }
    };
    assert_eq!(public.to_string().len(), 43);
    let hex: Vec<String> = public.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for same in [public.to_string(), public.to_z85(), hex.concat()] {
        assert_eq!(same.parse(), Ok(public), "{same}");
    }
    let secret: SecretKey = text.parse().expect("both kinds have the same encodings");
    assert_eq!(secret.as_bytes(), public.as_bytes());
    assert_eq!(*secret.reveal(), public.to_string());
    assert!(!format!("{secret:?}").contains(&*secret.reveal()));
}
