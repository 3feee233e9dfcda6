//! The Service between the apply of a generation and its `settle`. Its ports stay those of the
//! earlier pods, but new pods that are ready are behind it too.

use serde_json::Value;

/// Returns the ports of a Service that reach each pod at the number that the pod serves; `None` if
/// they do so already.
///
/// A number stays if the new pods serve the same number, even under another name, because the
/// earlier pods do not have that name. Otherwise the name replaces it, and each pod resolves the
/// name to its own number. A pod without the name is left out.
pub(crate) fn ports(live: &Value, wanted: &Value) -> Option<Value> {
    let wanted = wanted.pointer("/spec/ports")?.as_array()?;
    let mut ports = live.pointer("/spec/ports")?.as_array()?.clone();
    let mut has_changed = false;
    for port in &mut ports {
        let is_numbered = port["targetPort"].is_number() && port["name"].is_string();
        if is_numbered && !is_served(port, wanted) {
            port["targetPort"] = port["name"].clone();
            has_changed = true;
        }
    }
    has_changed.then(|| ports.into())
}

fn is_served(port: &Value, wanted: &[Value]) -> bool {
    let is_same = |other: &Value| {
        ["targetPort", "protocol"]
            .iter()
            .all(|field| other[field] == port[field])
    };
    match wanted.iter().find(|other| other["name"] == port["name"]) {
        Some(named) => is_same(named),
        None => wanted.iter().any(is_same),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(ports: &[(&str, Value)]) -> Value {
        let port = |(name, target): &(&str, Value)| json!({ "name": name, "targetPort": target, "protocol": "TCP" });
        json!({ "spec": { "ports": ports.iter().map(port).collect::<Value>() } })
    }

    #[test]
    fn a_name_takes_the_place_of_a_number_that_the_new_pods_do_not_serve() {
        let live = service(&[("http", json!(8080)), ("admin", json!(9090))]);
        for (wanted, expected) in [
            ([("http", 8080), ("admin", 9090)], None),
            (
                [("http", 8081), ("admin", 9090)],
                Some([json!("http"), json!(9090)]),
            ),
            (
                [("http", 9090), ("admin", 8080)],
                Some([json!("http"), json!("admin")]),
            ),
            ([("api", 8080), ("admin", 9090)], None),
            (
                [("api", 8081), ("admin", 9090)],
                Some([json!("http"), json!(9090)]),
            ),
        ] {
            let wanted = service(&wanted.map(|(name, port)| (name, json!(port))));
            let [http, admin] = [0, 1].map(|at| {
                let ports = ports(&live, &wanted);
                ports.map(|ports| ports[at]["targetPort"].clone())
            });
            assert_eq!(http.zip(admin).map(|(a, b)| [a, b]), expected, "{wanted}");
        }
    }

    #[test]
    fn a_name_stays_and_a_port_without_one_is_left_alone() {
        let wanted = service(&[("http", json!(8080))]);
        assert_eq!(ports(&service(&[("http", json!("http"))]), &wanted), None);
        let mut live = service(&[("http", json!(9090))]);
        live["spec"]["ports"][0]["name"] = Value::Null;
        assert_eq!(ports(&live, &wanted), None);
    }
}
