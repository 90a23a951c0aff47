"""Who may do what: tokens and keys, sessions, and the one dependency that every route passes."""
