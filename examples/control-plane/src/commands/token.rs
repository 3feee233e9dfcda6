//! `token create`, `token list` and `token revoke`.

use choreo_deploy::id::{ComponentId, TokenId};
use choreo_deploy::store::StoreErrorKind;
use choreo_deploy::token::TokenRecord;
use choreo_webhook::DeployToken;
use choreo_webhook::token::Lifetime;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::table::{Table, cell};

/// Creates a token. Only its text goes to standard output, so that it can be piped.
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
        "token {} can deploy {} until {:.0}; it is shown only once",
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
    let tokens = records.store.tokens(&records.key(component)).await?;
    if tokens.is_empty() {
        records.component(component)?;
    }
    let now = Timestamp::now();
    let mut table = Table::new(["TOKEN", "STATE", "EXPIRES", "LAST USED", "NAME"]);
    for token in &tokens {
        table.row([
            token.id.to_string(),
            state(token, now).to_owned(),
            format!("{:.0}", token.expires_at),
            cell(token.last_used_at.map(|at| format!("{at:.0}"))),
            token.name.clone(),
        ]);
    }
    let values: Vec<Value> = tokens.iter().map(|token| document(token, now)).collect();
    output.say(table.or(&format!("{component} has no tokens")), &values);
    Ok(ExitStatus::Ready)
}

pub(super) async fn revoke(
    records: &Records,
    component: &ComponentId,
    id: &TokenId,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let key = records.key(component);
    if records.store.tokens(&key).await?.is_empty() {
        records.component(component)?;
    }
    let revoked = records.store.revoke_token(&key, id, Timestamp::now()).await;
    let was_live = match revoked {
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            return Err(Failure::refused(format!("{component} has no token {id}")));
        }
        revoked => revoked?,
    };
    let text = match was_live {
        true => format!("token {id} of {component} is revoked"),
        false => format!("token {id} of {component} was already revoked or expired"),
    };
    output.say(
        text,
        &json!({ "id": id, "component": component, "was_live": was_live }),
    );
    Ok(ExitStatus::Ready)
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
