-- Schema 5: a target knows where it may be.

-- The data planes that it was deployed to and not removed from: a JSON array.
ALTER TABLE targets ADD COLUMN planes TEXT NOT NULL DEFAULT '[]';
UPDATE targets SET planes = json_array(data_plane);
