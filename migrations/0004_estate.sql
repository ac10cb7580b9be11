-- Events at scale: which transaction was the last to change more than what events make of detections. Between two of
-- these an instance need not read again what it knows of keys, Regions and their findings. See `turn` in 0001.
ALTER TABLE writer ADD COLUMN estate BIGINT NOT NULL DEFAULT 0;
