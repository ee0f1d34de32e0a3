-- What a person granted to a client. Revocation and expiry of everything below go by this row.
CREATE TABLE grants (
  id          TEXT PRIMARY KEY,
  subject     TEXT NOT NULL,
  idp         TEXT NOT NULL,
  idp_subject TEXT NOT NULL,
  email       TEXT,
  name        TEXT,
  groups      TEXT NOT NULL,               -- JSON array
  client      TEXT NOT NULL,
  client_name TEXT NOT NULL,
  resource    TEXT NOT NULL,
  scopes      TEXT NOT NULL,
  granted_at  BIGINT NOT NULL,            -- times are seconds since the epoch
  ends_at     BIGINT NOT NULL,
  revoked_at  BIGINT,
  revoked_why TEXT
);
CREATE INDEX grants_ending ON grants (ends_at);
CREATE INDEX grants_newest ON grants (granted_at);

-- The provider's last word about a grant's person, and what we may ask it again with (sealed). `asking` is the note that somebody is
-- about to send it: without an answer nobody knows whether it was used.
CREATE TABLE words (
  grant_id     TEXT PRIMARY KEY REFERENCES grants (id) ON DELETE CASCADE,
  tokens       TEXT NOT NULL,
  renewable    BOOLEAN NOT NULL,
  heard_at     BIGINT NOT NULL,
  asking       TEXT,
  asking_since BIGINT
);

-- The refresh tokens of a grant, by digest: the living one, and in `recent` (JSON) those replaced a moment ago, each with its successor,
-- sealed under a key that only the token itself gives.
CREATE TABLE lines (
  grant_id   TEXT PRIMARY KEY REFERENCES grants (id) ON DELETE CASCADE,
  generation BIGINT NOT NULL,
  living     BYTEA NOT NULL,
  ends_at    BIGINT NOT NULL,
  recent     TEXT NOT NULL
) WITH (fillfactor = 50);                  -- a rotation finds room beside the row, and touches no index

-- Transactions that ended in a grant: their state is used up (CON-21).
CREATE TABLE completed_transactions (
  id    TEXT PRIMARY KEY,
  until BIGINT NOT NULL
);
CREATE INDEX completed_transactions_ending ON completed_transactions (until);

-- Authorization codes, by digest. A used one stays for a while, so that a replay is noticed (AS-64).
CREATE TABLE codes (
  digest       BYTEA PRIMARY KEY,
  grant_id     TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
  redirect_uri TEXT NOT NULL,
  challenge    TEXT NOT NULL,
  refresh      BOOLEAN NOT NULL,
  ends_at      BIGINT NOT NULL,
  used_at      BIGINT
);
CREATE INDEX codes_of_grant ON codes (grant_id);
CREATE INDEX codes_ending ON codes (ends_at);

-- Decisions that their people do not want to be asked about again (JSON), each by the browser that it was made in.
CREATE TABLE memories (
  browser  BYTEA NOT NULL,
  client   TEXT NOT NULL,
  resource TEXT NOT NULL,
  subject  TEXT NOT NULL,
  decision TEXT NOT NULL,
  until    BIGINT NOT NULL,
  PRIMARY KEY (browser, client, resource)
);
CREATE INDEX memories_of_subject ON memories (subject, client);
CREATE INDEX memories_ending ON memories (until);

-- Client assertions that were used, by digest: each counts once, and is known until it would be refused for its age (RFC 7523 §3).
CREATE TABLE assertions (
  digest  BYTEA PRIMARY KEY,
  ends_at BIGINT NOT NULL
);
CREATE INDEX assertions_ending ON assertions (ends_at);

-- The feed by which every process learns of revocations. Its head is locked while an entry is made, so that entries become visible in
-- the order of their numbers and nobody reads past one.
CREATE TABLE revocations (
  sequence BIGINT PRIMARY KEY,
  grant_id TEXT NOT NULL,
  at       BIGINT NOT NULL
);
CREATE TABLE feed (head BIGINT NOT NULL);
INSERT INTO feed (head) VALUES (0);

-- Keys that sign access tokens, sealed.
CREATE TABLE signing_keys (
  kid        TEXT PRIMARY KEY,
  sealed     TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
