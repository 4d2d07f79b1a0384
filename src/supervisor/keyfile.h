/* The keys file: a section for each key, in the form of the configuration file.
 *
 *     [ci]
 *     sha256 = 9f86d081…            of the whole key; the key itself is nowhere
 *     created = 2026-11-23
 *     concurrency = 4               all from here on optional: lower than the server's, or absent
 *     rate = 100/min
 *     burst = 20
 *     limits.wall_ms = 5s
 *
 * Whoever may write the file decides who may run scripts, so a file that everybody may write is refused. Everything is
 * checked against the table of fields; the first thing that is wrong refuses the whole file. */
#ifndef SAFE_SCRIPT_KEYFILE_H
#define SAFE_SCRIPT_KEYFILE_H

#include "key.h"

#include <stdio.h>

struct key_list {
    struct key *keys; /* the owner of the list frees it; its numbers for owners are all 0 */
    size_t count;
    char error[512]; /* why a call refused: one line that names the file and the field */
};

/* Reads path. `server`: the limits that keys may lower. Returns 0, or -1 with list->error and no keys. */
int keyfile_load(const char *path, const struct limits *server, struct key_list *list);

/* Writes the file anew with a key more, of this id and with these "field = value" (fields[i] is "field=value"), or with
 * a key less. The file is replaced at once and whole, by one process at a time; a new one is for its owner alone.
 * Returns 0, or -1 with list->error; the file is then as it was. */
int keyfile_add(const char *path, const struct limits *server, const char *id, char *const fields[], size_t count,
                char text[KEY_TEXT_BYTES + 1], struct key_list *list);
int keyfile_remove(const char *path, const struct limits *server, const char *id, struct key_list *list);

/* The fields that a person may set, as a subcommand's help has them. */
void keyfile_print_fields(FILE *out);

/* A key's fields as they stand in the file: "concurrency = 4, rate = 100/min"; "" for none. Returns text. */
char *keyfile_fields(const struct key *key, const struct limits *server, char *text, size_t size);

#endif
