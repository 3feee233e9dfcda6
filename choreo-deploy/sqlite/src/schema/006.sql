-- Schema 6: work is taken by turns among organizations, and each claim is counted.

-- What the next step waits for: 0 a registry, 1 a change on the data plane, 2 a look at it.
ALTER TABLE targets ADD COLUMN lane INTEGER NOT NULL DEFAULT 1;
-- How often it was claimed since something was last written about it.
ALTER TABLE targets ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
UPDATE targets SET lane = CASE
        WHEN applied = 1 THEN 2
        WHEN (SELECT release IS NULL AND workload IS NOT NULL FROM deployments
              WHERE id = targets.deployment) THEN 0
        ELSE 1 END
    WHERE due_at IS NOT NULL;
-- The first entry of each group is found without a look at the others.
CREATE INDEX targets_work ON targets (organization, lane, data_plane, due_at)
    WHERE due_at IS NOT NULL AND unreadable = 0;

ALTER TABLE runs ADD COLUMN organization TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN lane INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET
    organization = coalesce((SELECT organization FROM targets WHERE id = runs.target), ''),
    lane = iif(started = 1 AND cancel_requested = 0, 2, 1);
CREATE INDEX runs_work ON runs (organization, lane, data_plane, due_at)
    WHERE due_at IS NOT NULL AND unreadable = 0;
