//! `token create`, `token list` and `token revoke`.

use choreo_deploy::id::{ComponentId, TokenId};
use choreo_deploy::store::{StoreErrorKind, TokenStore as _};
use choreo_deploy::token::TokenRecord;
use choreo_webhook::DeployToken;
use choreo_webhook::token::Lifetime;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;

/// Makes a token. Its text goes to standard output alone, so that it can be piped to where it belongs.
pub(super) async fn create(
    records: &Records,
    component: ComponentId,
    (name, lifetime): (Option<String>, Option<Lifetime>),
    output: Output,
) -> Result<ExitStatus, Failure> {
    records.component(&component)?;
    let key = records.key(&component);
    let lifetime = lifetime.unwrap_or(Lifetime::DEFAULT);
    let (token, record) = DeployToken::mint(key, lifetime, Timestamp::now());
    let record = match name {
        Some(name) => record.with_name(name),
        None => record,
    };
    records.store.issue_token(record.clone()).await?;
    Output::note(format_args!(
        "token {} deploys {} until {:.0}; it is shown now and never again",
        record.id, record.component, record.expires_at
    ));
    let mut value = document(&record, Timestamp::now());
    value["token"] = token.expose().into();
    output.say(token.expose(), &value);
    Ok(ExitStatus::Ready)
}

pub(super) async fn list(
    records: &Records,
    component: &ComponentId,
    output: Output,
) -> Result<ExitStatus, Failure> {
    records.component(component)?;
    let tokens = records.store.tokens(&records.key(component)).await?;
    let now = Timestamp::now();
    let lines: Vec<String> = tokens.iter().map(|token| line(token, now)).collect();
    let text = match lines.is_empty() {
        true => format!("{component} has no token"),
        false => lines.join("\n"),
    };
    let values: Vec<Value> = tokens.iter().map(|token| document(token, now)).collect();
    output.say(text, &values);
    Ok(ExitStatus::Ready)
}

pub(super) async fn revoke(
    records: &Records,
    component: &ComponentId,
    id: &TokenId,
    output: Output,
) -> Result<ExitStatus, Failure> {
    records.component(component)?;
    let key = records.key(component);
    let revoked = records.store.revoke_token(&key, id, Timestamp::now()).await;
    let was_live = match revoked {
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            return Err(Failure::refused(format!("{component} has no token {id}")));
        }
        revoked => revoked?,
    };
    let text = match was_live {
        true => format!("token {id} of {component} is revoked"),
        false => format!("token {id} of {component} had ended already"),
    };
    output.say(
        text,
        &json!({ "id": id, "component": component, "was_live": was_live }),
    );
    Ok(ExitStatus::Ready)
}

fn line(token: &TokenRecord, now: Timestamp) -> String {
    let used = match token.last_used_at {
        Some(at) => format!("last used {at:.0}"),
        None => "never used".to_owned(),
    };
    let (id, name, expires) = (&token.id, &token.name, token.expires_at);
    format!(
        "{id}  {:8}  until {expires:.0}  {used}  {name}",
        state(token, now)
    )
}

fn document(token: &TokenRecord, now: Timestamp) -> Value {
    json!({
        "id": token.id,
        "component": token.component,
        "name": token.name,
        "state": state(token, now),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    })
}

fn state(token: &TokenRecord, now: Timestamp) -> &'static str {
    match token.revoked_at {
        Some(_) => "revoked",
        None if token.is_live(now) => "live",
        None => "expired",
    }
}
