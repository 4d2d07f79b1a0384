/* The queue of runs: fair between owners, bounded, with a deadline for each that waits. A pure data structure: no
 * clock, no memory but what queue_open() takes, every operation in constant time however many wait and whoever they
 * are.
 *
 * Fair means: a free place goes to the owner who holds the fewest places; of those who hold as many, to the one who has
 * been without a new one for the longest. An owner's own runs go in the order in which they came. When the queue is
 * full, who has the most in it makes room for who has less: the newest of his loses its place in the queue.
 *
 * Promised: a run that its client was told about, or that had begun. It has no deadline and never loses its place in
 * the queue. So that they cannot fill it, an owner may have no more of them than there is room that none of them takes.
 *
 * Lanes: the runs of one lane do not wait for those of another. One is for each environment's usual jails, the last for
 * all runs that need a jail made for them. Shares are counted over all. */
#ifndef SAFE_SCRIPT_QUEUE_H
#define SAFE_SCRIPT_QUEUE_H

#include "environment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lane {
    LANE_USUAL, /* of environment 0; the others' follow */
    LANE_ODD = LANE_USUAL + ENVIRONMENT_ROWS,
    LANE_COUNT
};
_Static_assert(LANE_COUNT <= 32, "an owner has a bit for each");

/* Lists of owners by a number, of which the least and the greatest with an owner are found at once: a bit for each list
 * that is not empty, a bit for each word of such bits that is not zero, and so once more. */
enum { RANKS_MOST = 64 * 64 * 64 };

struct rank {
    struct rank *previous, *next;
    struct queue_owner *owner;
    uint32_t at;
    bool listed;
};

struct ranks {
    struct rank_list {
        struct rank *first, *last;
    } * lists;
    uint32_t count; /* of the lists; what is greater goes to the last */
    uint64_t top, middle[64], *bottom;
};

/* The lists that a waiting entry is in; each is a first and a last, and links in the entries. */
enum entry_link {
    IN_LANE,  /* of its owner's lane, by turn */
    IN_SHARE, /* of its owner's that may lose their place, by age */
    IN_QUEUE, /* of all that are promised, or of all that are not; by age, and so by deadline */
    LINK_COUNT
};

struct entry_list {
    struct queue_entry *first, *last;
};

/* A run, to the queue: the first member of what it is to others. */
struct queue_entry {
    enum { ENTRY_OUT, ENTRY_WAITING, ENTRY_RUNNING } state; /* RUNNING: it holds a place */
    enum lane lane;
    bool promised;
    uint64_t deadline_us;
    struct queue_owner *owner;
    struct {
        struct queue_entry *previous, *next;
    } links[LINK_COUNT];
};

/* One who asks for runs. Zero-initialised but for `most`; its memory is the caller's, and stays while anything of its
 * waits or runs. */
struct queue_owner {
    uint32_t most;              /* places that it may hold at once */
    uint32_t running;           /* places that it holds */
    uint32_t waiting, promised; /* the second: of the first */
    uint32_t used;              /* lanes that it is listed in, or has something in: a bit for each */
    struct entry_list lanes[LANE_COUNT], share;
    struct rank turn[LANE_COUNT]; /* among those whose turn may come, by places held */
    struct rank size;             /* among those who have some that may lose their place, by how many */
};

struct run_queue {
    uint32_t length, promised, most;
    uint64_t left;                /* how many have ever left it */
    uint32_t in_lane[LANE_COUNT]; /* that wait there */
    struct ranks turns[LANE_COUNT], sizes;
    struct entry_list waiting[2]; /* [1]: the promised */
};

/* `most` may wait, `places` be held at once. Returns 0, or -1 without memory. */
int queue_open(struct run_queue *queue, uint32_t most, uint32_t places);
void queue_close(struct run_queue *queue);

/* Adds an entry (ENTRY_OUT; lane, promised and deadline set, deadlines in the order of the calls). Returns false when
 * there is no room for it. *ousted is an entry that lost its place to it, or NULL. */
bool queue_add(struct run_queue *queue, struct queue_owner *owner, struct queue_entry *entry,
               struct queue_entry **ousted);

/* Whose turn it is in a lane; NULL: nobody waits there who may have a place. It stays where it is. */
struct queue_entry *queue_next(const struct run_queue *queue, enum lane lane);

/* A waiting entry gets a place. */
void queue_take(struct run_queue *queue, struct queue_entry *entry);

/* An entry that has a place waits again, before all others of its owner and lane; it is promised now. */
void queue_put_back(struct run_queue *queue, struct queue_entry *entry);

/* Whatever an entry's state is, it leaves: its place, or its place in the queue. */
void queue_leave(struct run_queue *queue, struct queue_entry *entry);

/* The waiting entry with the earliest deadline, NULL when none has one. */
struct queue_entry *queue_earliest(const struct run_queue *queue);

/* Any waiting entry, NULL when none waits. */
struct queue_entry *queue_any(const struct run_queue *queue);

/* To be called when an owner's `most` has changed. */
void queue_owner_changed(struct run_queue *queue, struct queue_owner *owner);

#endif
