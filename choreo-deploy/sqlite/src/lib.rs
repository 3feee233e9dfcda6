//! The embedded, durable store of choreo-deploy on SQLite.
