/* Runs that can be asked for by their ids: what GET and DELETE of /v1/runs/{id} and its events speak of. The one place
 * where runs outlive their requests: here in this process's memory, within a time and a size; a store that outlives the
 * process or the machine would be another runs.c.
 *
 * An id is 128 random bits and a keyed sum over them and the owner. So whether an id is one that we gave to that owner
 * is known without remembering it, and one that is no longer kept is told from one that never was. Whoever asks without
 * being the owner learns nothing. No HTTP here, and nothing of how runs are made. */
#ifndef SAFE_SCRIPT_RUNS_H
#define SAFE_SCRIPT_RUNS_H

#include "events.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flight;
struct kept;

enum {
    RUN_NAME_BYTES = 4 + 2 * (16 + 8), /* "run_", 128 bits, the sum */
    RUNS_KEY_BYTES = 16,
};

/* Whoever wants to hear of a run's next events, of its end, or that it is kept no longer. */
struct watcher {
    struct kept *run; /* NULL: it is kept no longer */
    void (*told)(struct watcher *watcher);
    struct watcher *previous, *next;
};

struct kept {
    char name[RUN_NAME_BYTES + 1];
    uint64_t owner;
    const char *environment;
    struct flight *flight; /* NULL: it is over */
    struct events events;
    struct watcher *watchers;
    unsigned watcher_count;
    /* runs.c's own */
    uint64_t number;  /* the first of its random bits */
    uint64_t over_ms; /* and the time it ended */
    size_t bytes;     /* that it was counted with when it ended; 0: it is not over */
    struct kept *next_of_bucket, *older, *newer;
};

/* Zero-initialised but for keep_ms and keep_bytes, then runs_open(). */
struct runs {
    uint8_t key[RUNS_KEY_BYTES];
    uint64_t keep_ms, keep_bytes; /* for how long and in how many bytes of memory runs that are over are kept */
    struct kept **buckets;
    size_t bucket_count, count, bytes; /* bytes: of those that are over */
    struct kept *oldest, *newest;      /* of those that are over */
};

enum runs_answer { RUNS_FOUND, RUNS_UNKNOWN, RUNS_GONE };

/* Returns 0 or -1. */
int runs_open(struct runs *runs);
void runs_close(struct runs *runs);

/* A new id for a run of owner's. Returns 0, or -1 without random numbers. */
int runs_name(const struct runs *runs, uint64_t owner, char name[RUN_NAME_BYTES + 1]);

/* Keeps a run under such a name, from now on; environment must outlive it. NULL when out of memory. */
struct kept *runs_add(struct runs *runs, const char *name, uint64_t owner, const char *environment);

/* The run of that name, if it is owner's. Fills *run when RUNS_FOUND. */
enum runs_answer runs_find(const struct runs *runs, const char *name, uint64_t owner, struct kept **run);

/* The run's events have become more: its watchers are told. */
void runs_told(struct kept *run);

/* events_end() was called: watchers are told, and the oldest of those that are over go where it is too much. */
void runs_over(struct runs *runs, struct kept *run, uint64_t now_ms);

/* Forgets a run, whatever its state; its watchers are told. */
void runs_forget(struct runs *runs, struct kept *run);

/* Forgets what is past its time. Returns the milliseconds until the next, or -1. */
int runs_deadline(struct runs *runs, uint64_t now_ms);

void watcher_join(struct watcher *watcher, struct kept *run);
void watcher_leave(struct watcher *watcher);

#endif
