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
  idp_tokens  TEXT NOT NULL,               -- sealed
  granted_at  INTEGER NOT NULL,            -- times are seconds since the epoch
  ends_at     INTEGER NOT NULL,
  revoked_at  INTEGER,
  revoked_why TEXT
) STRICT;
CREATE INDEX grants_ending ON grants (ends_at);

-- Transactions that ended in a grant: their state is used up (CON-21).
CREATE TABLE completed_transactions (
  id    TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT;

-- Authorization codes, by digest. A used one stays for a while, so that a replay is noticed (AS-64).
CREATE TABLE codes (
  digest       BLOB PRIMARY KEY,
  grant_id     TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
  redirect_uri TEXT NOT NULL,
  challenge    TEXT NOT NULL,
  refresh      INTEGER NOT NULL,
  ends_at      INTEGER NOT NULL,
  used_at      INTEGER
) STRICT;
CREATE INDEX codes_of_grant ON codes (grant_id);

-- Refresh tokens, by digest. `successor` is sealed under a key that only the token itself gives.
CREATE TABLE refresh_tokens (
  digest     BLOB PRIMARY KEY,
  grant_id   TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
  ends_at    INTEGER NOT NULL,
  rotated_at INTEGER,
  successor  BLOB
) STRICT;
CREATE INDEX refresh_tokens_of_grant ON refresh_tokens (grant_id);

-- The feed by which every process learns of revocations.
CREATE TABLE revocations (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  grant_id TEXT NOT NULL,
  at       INTEGER NOT NULL
) STRICT;

-- Keys that sign access tokens, sealed.
CREATE TABLE signing_keys (
  kid        TEXT PRIMARY KEY,
  sealed     TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
