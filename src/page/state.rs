//! The state of the page, and how a view is drawn.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use maud::Markup;
use tokio::sync::Semaphore;

use crate::admin::work::{NoResult, work_out};
use crate::admin::{AdminState, WeirStatus};
use crate::live::Snapshot;
use crate::page::door::{Door, Visitor};
use crate::page::layout::{ActionOutcome, PageFrame, PageView, respond};

/// The largest form.
pub(super) const FORM_BYTES: usize = 4 << 20;

/// The state of the page.
pub(super) struct PageState {
    pub(super) operators: AdminState,
    pub(super) door: Door,
    pub(super) streams: Arc<Semaphore>,
}

impl PageState {
    /// Draws a view, on a thread that may take its time.
    pub(super) async fn show(
        &self,
        view: PageView,
        (visitor, status, outcome): (Visitor, StatusCode, Option<ActionOutcome>),
        draw: impl FnOnce(&Snapshot) -> Markup + Send + 'static,
    ) -> Response {
        let operators = self.operators.clone();
        let drawing = move || {
            // Before all else is looked at: what changes from now on is not in what is drawn.
            let seen = *operators.events.signs().borrow();
            let snapshot = operators.live.load_full();
            let weir = WeirStatus::of(&operators, &snapshot);
            let frame = PageFrame {
                view,
                visitor,
                status: Some((&weir, seen)),
                outcome,
                content: draw(&snapshot),
            };
            frame.draw()
        };
        match work_out(drawing).await {
            Ok(drawn) => respond(status, drawn),
            Err(NoResult) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
