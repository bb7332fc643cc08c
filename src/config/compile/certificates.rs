//! `[listener.NAME.tls]`: reads the files that it names, and says all that is wrong with them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::certificate::{Authorities, Pair, Side};
use super::super::model::ListenerTls;
use super::super::problem::Place;
use super::super::read::Section;
use super::super::tree::{Node, Table, Value};
use super::unknown::line;

/// What a right list looks like.
const SAMPLE: &str = "{ cert = \"site.pem\", key = \"site.key\" }";

/// `None`: plain HTTP, or something is wrong.
pub(super) fn tls(listener: &Section<'_>) -> Option<Arc<ListenerTls>> {
    let section = listener.section("tls");
    if section.cx.learned.is_some() {
        pair(&section, &Node { value: Value::Table(Table::default()), place: section.place.clone() });
    }
    let client_ca = client_ca(&section);
    let list = section.list("certificates", SAMPLE);
    if !section.present() {
        return None;
    }
    let said = section.node("certificates").map(|node| &node.value);
    let empty = said.is_none_or(|said| matches!(said, Value::Array(items) if items.is_empty()));
    if empty && !section.misspelt("certificates") {
        let place = section.place_of("certificates").unwrap_or(&section.place);
        let message = format!("[{}] has no certificate", section.path);
        section.cx.error(place, message, format!("write certificates = [{SAMPLE}]"));
    }
    let certificates: Vec<(Pair, &Place)> =
        list.iter().filter_map(|node| Some((pair(&section, node)?, &node.place))).collect();
    foolish(&section, &certificates);
    if certificates.is_empty() || certificates.len() < list.len() {
        return None;
    }
    let certificates = certificates.into_iter().map(|(pair, _)| pair).collect();
    Some(Arc::new(ListenerTls { certificates, client_ca }))
}

fn client_ca(section: &Section<'_>) -> Option<Authorities> {
    let (name, place) = section.text("client_ca", "clients.pem", "").filter(|(name, _)| !name.is_empty())?;
    section.cx.take(place, Authorities::read(&section.cx.base.join(name)))
}

/// `{ cert = "site.pem", key = "site.key" }`.
fn pair(section: &Section<'_>, node: &Node) -> Option<Pair> {
    if !matches!(node.value, Value::Table(_)) {
        let message = format!("a certificate is a table with two files, not {}", node.value.kind());
        section.cx.error(&node.place, message, format!("write {SAMPLE}"));
        return None;
    }
    let item = section.item("certificates", node);
    let file = |key: &'static str, sample: &str| {
        let said = item.text(key, sample, "");
        if item.place_of(key).is_none() && !item.misspelt(key) && section.cx.learned.is_none() {
            section.cx.error(&node.place, format!("this certificate has no `{key}`"), format!("write {SAMPLE}"));
        }
        said
    };
    let (cert, key) = (file("cert", "site.pem"), file("key", "site.key"));
    let ((cert, cert_place), (key, key_place)) = (cert?, key?);
    let base = &section.cx.base;
    match Pair::read(&base.join(cert), &base.join(key)) {
        Ok(pair) => {
            if pair.open {
                let shown = pair.key.display();
                let message = format!("everybody on this machine can read {shown}, and so pass for this site");
                section.cx.warn(key_place, message, format!("chmod o-r {shown}"));
            }
            Some(pair)
        }
        Err(wrong) => {
            for (side, wrong) in wrong {
                let place = if side == Side::Cert { cert_place } else { key_place };
                section.cx.error(place, wrong.message, wrong.hint);
            }
            None
        }
    }
}

/// Legal, and not what clients will be glad of.
fn foolish(section: &Section<'_>, certificates: &[(Pair, &Place)]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let mut taken: HashMap<&str, &Place> = HashMap::new();
    for (pair, place) in certificates {
        let shown = pair.cert.display();
        if pair.not_after < now {
            let days = (now - pair.not_after) / 86_400;
            let message = format!("the certificate in {shown} ended {days} days ago: clients refuse it");
            section.cx.warn(place, message, "put a new one there; a running causeway takes it up by itself");
        } else if pair.not_before > now {
            let message = format!("the certificate in {shown} is not good yet: clients refuse it");
            section.cx.warn(place, message, "look at its dates, and at the clock of this machine");
        }
        if pair.names.is_empty() {
            let message = format!("the certificate in {shown} is for no name: clients refuse it");
            section.cx.warn(place, message, "it needs its hosts as subjectAltName");
        }
        for name in &pair.names {
            if let Some(first) = taken.insert(name, place) {
                let message = format!("{name} has a certificate already{}", line(first));
                section.cx.warn(place, message, "for this name the first one is shown; take one of them out");
                taken.insert(name, first);
                break;
            }
        }
    }
}
