-- Lets an exclusion constraint compare ids with `=` beside ranges with `&&`.
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;
