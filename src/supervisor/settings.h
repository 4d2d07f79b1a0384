/* Settings: one table, three sources (configuration file, environment, flags; the later wins), unknown names refused in
 * each. The limits of limit.h are settings too, in the section [limits]. Whoever starts the server is trusted; values
 * are still checked against their rows. */
#ifndef SAFE_SCRIPT_SETTINGS_H
#define SAFE_SCRIPT_SETTINGS_H

#include "environment.h"
#include "limit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { LISTEN_MOST = 8, SETTINGS_POOL_MOST = 1024, SETTINGS_CONCURRENCY_MOST = 4096, SETTINGS_QUEUE_MOST = 100000 };

/* A section [environment NAME]. */
struct environment_settings {
    const char *name;
    const char *python;  /* NULL: the server's */
    const char *path;    /* directories, with a colon between two; NULL: none */
    const char *preload; /* modules, with blanks or commas between them; NULL: those that go with its name */
    uint64_t pool;       /* 0: by the server's */
    uint64_t warm;       /* 1: yes */
    uint64_t idle_ms;
    uint32_t limits_set; /* a bit for each limit that it has of its own */
    struct limits limits;
};

struct settings {
    const char *listen[LISTEN_MOST];
    size_t listen_count;
    const char *tls_certificate, *tls_key; /* NULL: no address speaks TLS */
    const char *python;
    uint64_t engine;                                 /* enum jail_engine */
    const char *bubblewrap, *nsjail, *nsjail_config; /* the last: NULL: ours */
    const char *box_directory;                       /* NULL: found */
    uint64_t pool, concurrency, queue;               /* 0: chosen from the machine's cores and memory */
    uint64_t queue_timeout_ms;
    uint64_t port; /* PORT in the environment; 0: none, or another address was given, too */
    const char *cors_origins;
    uint64_t open_to_all;  /* 1: yes */
    const char *keys_file; /* NULL: nobody needs a key */
    uint64_t grace_ms, recycle_runs, recycle_minutes;
    uint64_t spare_bytes;
    uint64_t connections, body_timeout_ms, idle_timeout_ms, buffered_bytes;
    uint64_t records_seconds, records_bytes, heartbeat_ms;
    uint64_t walls;
    uint64_t log_level, log_format; /* enum log_level, enum log_format */
    bool check_config;
    struct limits limits;
    struct environment_settings environments[ENVIRONMENTS_MOST]; /* in the file's order */
    size_t environment_count;
    char error[512]; /* why settings_load() refused */
};

/* Arguments that are no settings: the file of `run`, its own options. */
struct rest {
    char **argument;
    int count;
};

/* Reads defaults, the file of --config (or SAFE_SCRIPT_CONFIG), the environment, then the flags among argv. What starts
 * with -- and is no setting goes, with everything that is no flag, to rest (argv is reordered, nothing is copied).
 * Returns 0, or -1 with settings->error (one line that names the file and line, variable or flag). Strings point into
 * argv, the environment, or memory that lives as long as the process. */
int settings_load(struct settings *settings, int argc, char **argv, struct rest *rest);

/* On a reload: what only a restart can change is set back to the old value; changed() is told the key of each that
 * would have been another. */
void settings_keep_fixed(struct settings *fresh, const struct settings *old, void (*changed)(const char *key));

/* The highest of each limit among all environments: what a key's own may be. */
struct limits settings_limits_most(const struct settings *settings);

/* Adds an environment, with what it has where no section says otherwise; NULL: there are as many as there can be. */
struct environment_settings *settings_add_environment(struct settings *settings, const char *name);

/* Prints the tables as the --help of subcommands has them; as items of the manual pages (troff), by flag or by section
 * of the file with what values they take: setting_pages.c. */
void settings_print(FILE *out);
void settings_print_flags_page(FILE *out);
void settings_print_file_page(FILE *out);

/* For a shell's completion: the flags with a blank between two; then the patterns of a `case` of those that take a
 * value, where a file's name is completed by `files`, one of some words put into $words, and nothing known done by
 * `others`. */
void settings_print_flags(FILE *out);
void settings_print_values(FILE *out, const char *indent, const char *files, const char *others);

#endif
