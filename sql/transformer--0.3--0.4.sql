/* transformer 0.4: text out of rows */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION transformer UPDATE TO '0.4'" to load this file. \quit
