/* Who may ask for runs, to the supervisor: the first OWNERS rows are clients without keys, by their address; each other
 * row is a key's. The front names a row by a number, in which the row's own changes whenever it gets another key: a
 * number that was given out before a reload is never another's. */
#ifndef SAFE_SCRIPT_OWNERS_H
#define SAFE_SCRIPT_OWNERS_H

#include "keyfile.h"
#include "queue.h"
#include "wire.h"

enum { OWNER_ROWS = OWNERS + 2 * KEYS_MOST }; /* room for a file of other keys while the old ones' runs end */

struct owner {
    struct queue_owner queue; /* first */
    uint32_t number;
    bool known; /* it may ask; else what it asked for comes to its end */
    struct key key;
    uint64_t due_ns; /* when its rate alone would have its next run */
};

/* Gives each key of the list its row, and the row's number to the key: the one that it had, or a free one. Rows of keys
 * that are not in the list may ask for nothing more. Without a list everybody may ask, and no key. Returns 0, or -1
 * with list->error, and nothing is changed. */
int owners_set(struct owner rows[OWNER_ROWS], struct run_queue *queue, struct key_list *list);

/* The row that number names, if it may ask; NULL: it may not (any more). */
struct owner *owner_find(struct owner rows[OWNER_ROWS], uint32_t number);

/* Microseconds until the owner's rate lets it have a run, 0: now. */
uint64_t owner_wait_us(const struct owner *owner, uint64_t now_us);

/* It has one. */
void owner_spend(struct owner *owner, uint64_t now_us);

#endif
