#include "queue.h"

#include <stdlib.h>

/* ---- ranks ---- */

static int ranks_open(struct ranks *ranks, uint32_t greatest)
{
    ranks->count = greatest < RANKS_MOST ? greatest + 1 : RANKS_MOST;
    ranks->lists = calloc(ranks->count, sizeof *ranks->lists);
    ranks->bottom = calloc(ranks->count / 64 + 1, sizeof *ranks->bottom);
    return ranks->lists && ranks->bottom ? 0 : -1;
}

static void ranks_close(struct ranks *ranks)
{
    free(ranks->lists);
    free(ranks->bottom);
}

static void ranks_leave(struct ranks *ranks, struct rank *rank)
{
    struct rank_list *list = &ranks->lists[rank->at];
    if (!rank->listed)
        return;
    *(rank->previous ? &rank->previous->next : &list->first) = rank->next;
    *(rank->next ? &rank->next->previous : &list->last) = rank->previous;
    rank->previous = rank->next = NULL;
    rank->listed = false;
    if (list->first)
        return;
    uint32_t word = rank->at / 64, group = word / 64;
    ranks->bottom[word] &= ~(UINT64_C(1) << rank->at % 64);
    if (!ranks->bottom[word])
        ranks->middle[group] &= ~(UINT64_C(1) << word % 64);
    if (!ranks->middle[group])
        ranks->top &= ~(UINT64_C(1) << group);
}

static void ranks_join(struct ranks *ranks, struct rank *rank, struct queue_owner *owner, uint32_t at)
{
    at = at < ranks->count ? at : ranks->count - 1;
    if (rank->listed && rank->at == at)
        return;
    ranks_leave(ranks, rank);
    struct rank_list *list = &ranks->lists[at];
    *rank = (struct rank){.owner = owner, .at = at, .listed = true, .previous = list->last};
    *(list->last ? &list->last->next : &list->first) = rank;
    list->last = rank;
    ranks->bottom[at / 64] |= UINT64_C(1) << at % 64;
    ranks->middle[at / 64 / 64] |= UINT64_C(1) << at / 64 % 64;
    ranks->top |= UINT64_C(1) << at / 64 / 64;
}

static uint32_t lowest(uint64_t bits)
{
    return (uint32_t)__builtin_ctzll(bits);
}

static uint32_t highest(uint64_t bits)
{
    return 63 - (uint32_t)__builtin_clzll(bits);
}

/* The owner who has been in the least list for the longest. */
static struct queue_owner *ranks_least(const struct ranks *ranks)
{
    if (!ranks->top)
        return NULL;
    uint32_t group = lowest(ranks->top), word = group * 64 + lowest(ranks->middle[group]);
    return ranks->lists[word * 64 + lowest(ranks->bottom[word])].first->owner;
}

static struct queue_owner *ranks_greatest(const struct ranks *ranks)
{
    if (!ranks->top)
        return NULL;
    uint32_t group = highest(ranks->top), word = group * 64 + highest(ranks->middle[group]);
    return ranks->lists[word * 64 + highest(ranks->bottom[word])].first->owner;
}

/* ---- lists of entries ---- */

static void list_join(struct entry_list *list, struct queue_entry *entry, enum entry_link link, bool first)
{
    struct queue_entry *previous = first ? NULL : list->last, *next = first ? list->first : NULL;
    entry->links[link].previous = previous;
    entry->links[link].next = next;
    *(previous ? &previous->links[link].next : &list->first) = entry;
    *(next ? &next->links[link].previous : &list->last) = entry;
}

static void list_leave(struct entry_list *list, struct queue_entry *entry, enum entry_link link)
{
    struct queue_entry *previous = entry->links[link].previous, *next = entry->links[link].next;
    *(previous ? &previous->links[link].next : &list->first) = next;
    *(next ? &next->links[link].previous : &list->last) = previous;
}

static void wait_join(struct run_queue *queue, struct queue_entry *entry, bool first)
{
    struct queue_owner *owner = entry->owner;
    entry->state = ENTRY_WAITING;
    list_join(&owner->lanes[entry->lane], entry, IN_LANE, first);
    list_join(&queue->waiting[entry->promised], entry, IN_QUEUE, false);
    if (!entry->promised)
        list_join(&owner->share, entry, IN_SHARE, false);
    queue->length++;
    queue->in_lane[entry->lane]++;
    owner->used |= UINT32_C(1) << entry->lane;
    owner->waiting++;
    queue->promised += entry->promised;
    owner->promised += entry->promised;
}

static void wait_leave(struct run_queue *queue, struct queue_entry *entry)
{
    struct queue_owner *owner = entry->owner;
    list_leave(&owner->lanes[entry->lane], entry, IN_LANE);
    list_leave(&queue->waiting[entry->promised], entry, IN_QUEUE);
    if (!entry->promised)
        list_leave(&owner->share, entry, IN_SHARE);
    queue->length--;
    queue->left++;
    queue->in_lane[entry->lane]--;
    owner->waiting--;
    queue->promised -= entry->promised;
    owner->promised -= entry->promised;
}

/* ---- the queue ---- */

int queue_open(struct run_queue *queue, uint32_t most, uint32_t places)
{
    *queue = (struct run_queue){.most = most};
    bool opened = ranks_open(&queue->sizes, most) == 0;
    for (int lane = 0; opened && lane < LANE_COUNT; lane++)
        opened = ranks_open(&queue->turns[lane], places) == 0;
    if (opened)
        return 0;
    queue_close(queue);
    return -1;
}

void queue_close(struct run_queue *queue)
{
    ranks_close(&queue->sizes);
    for (int lane = 0; lane < LANE_COUNT; lane++)
        ranks_close(&queue->turns[lane]);
    *queue = (struct run_queue){0};
}

/* Puts an owner where its numbers say, after any of them changed. */
void queue_owner_changed(struct run_queue *queue, struct queue_owner *owner)
{
    for (uint32_t used = owner->used; used; used &= used - 1) {
        uint32_t lane = lowest(used);
        if (owner->lanes[lane].first && owner->running < owner->most)
            ranks_join(&queue->turns[lane], &owner->turn[lane], owner, owner->running);
        else
            ranks_leave(&queue->turns[lane], &owner->turn[lane]);
        if (!owner->lanes[lane].first)
            owner->used &= ~(UINT32_C(1) << lane);
    }
    if (owner->share.first)
        ranks_join(&queue->sizes, &owner->size, owner, owner->waiting - owner->promised);
    else
        ranks_leave(&queue->sizes, &owner->size);
}

/* Who makes room for one more of owner's in a full queue, NULL for nobody. */
static struct queue_owner *greedier(const struct run_queue *queue, const struct queue_owner *owner)
{
    struct queue_owner *greedy = ranks_greatest(&queue->sizes);
    return greedy && greedy->waiting - greedy->promised > owner->waiting + 1 ? greedy : NULL;
}

bool queue_add(struct run_queue *queue, struct queue_owner *owner, struct queue_entry *entry,
               struct queue_entry **ousted)
{
    bool full = queue->length >= queue->most;
    struct queue_owner *greedy = full ? greedier(queue, owner) : NULL;
    *ousted = NULL;
    if (entry->promised && owner->promised + queue->promised >= queue->most)
        return false;
    if (full && !greedy)
        return false;
    if (full) {
        *ousted = greedy->share.last;
        queue_leave(queue, *ousted);
    }
    entry->owner = owner;
    wait_join(queue, entry, false);
    queue_owner_changed(queue, owner);
    return true;
}

struct queue_entry *queue_next(const struct run_queue *queue, enum lane lane)
{
    const struct queue_owner *owner = ranks_least(&queue->turns[lane]);
    return owner ? owner->lanes[lane].first : NULL;
}

void queue_take(struct run_queue *queue, struct queue_entry *entry)
{
    wait_leave(queue, entry);
    entry->state = ENTRY_RUNNING;
    entry->owner->running++;
    queue_owner_changed(queue, entry->owner);
}

void queue_put_back(struct run_queue *queue, struct queue_entry *entry)
{
    entry->owner->running--;
    entry->promised = true;
    wait_join(queue, entry, true);
    queue_owner_changed(queue, entry->owner);
}

void queue_leave(struct run_queue *queue, struct queue_entry *entry)
{
    if (entry->state == ENTRY_WAITING)
        wait_leave(queue, entry);
    else if (entry->state == ENTRY_RUNNING)
        entry->owner->running--;
    else
        return;
    entry->state = ENTRY_OUT;
    queue_owner_changed(queue, entry->owner);
}

struct queue_entry *queue_earliest(const struct run_queue *queue)
{
    return queue->waiting[false].first;
}

struct queue_entry *queue_any(const struct run_queue *queue)
{
    return queue->waiting[false].first ? queue->waiting[false].first : queue->waiting[true].first;
}
