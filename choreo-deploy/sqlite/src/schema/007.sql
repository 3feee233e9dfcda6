-- Schema 7: targets are listed in pages.

CREATE INDEX targets_order ON targets (organization, component, project, environment);
