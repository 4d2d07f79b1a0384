#include "owners.h"

#include "scope.h"

#include <string.h>

enum { ROW_BITS = 16 }; /* of a number; above them: how many keys the row has had */

_Static_assert(OWNER_ROWS <= 1 << ROW_BITS, "a row's place fits a number");

static struct owner *row_of_key(struct owner rows[OWNER_ROWS], const char *id)
{
    for (size_t i = OWNERS; i < OWNER_ROWS; i++) {
        if (rows[i].known && strcmp(rows[i].key.id, id) == 0)
            return &rows[i];
    }
    return NULL;
}

static bool is_free(const struct owner *row)
{
    return !row->known && !row->queue.waiting && !row->queue.running;
}

static size_t count_missing(struct owner rows[OWNER_ROWS], const struct key_list *list, size_t *places)
{
    size_t missing = 0;
    *places = 0;
    for (size_t i = 0; i < list->count; i++)
        missing += row_of_key(rows, list->keys[i].id) == NULL;
    for (size_t i = OWNERS; i < OWNER_ROWS; i++)
        *places += is_free(&rows[i]);
    return missing;
}

static void set_key(struct owner *row, struct run_queue *queue, struct key *key, size_t place)
{
    if (!row->known) {
        uint32_t uses = row->number >> ROW_BITS;
        *row = (struct owner){.number = (uses + 1) << ROW_BITS | (uint32_t)place, .known = true};
    }
    key->owner = row->number;
    row->key = *key;
    memset(row->key.hash, 0, sizeof row->key.hash); /* the front's to know */
    row->queue.most = key->concurrency;
    queue_owner_changed(queue, &row->queue);
}

int owners_set(struct owner rows[OWNER_ROWS], struct run_queue *queue, struct key_list *list)
{
    size_t places;
    bool kept[OWNER_ROWS] = {false};
    if (list && count_missing(rows, list, &places) > places) {
        snprintf(list->error, sizeof list->error, "too many keys are revoked while they have runs: try again later");
        return -1;
    }
    for (size_t i = 0; list && i < list->count; i++) {
        struct owner *row = row_of_key(rows, list->keys[i].id);
        for (size_t place = OWNERS; !row; place++)
            row = is_free(&rows[place]) && !kept[place] ? &rows[place] : NULL;
        kept[row - rows] = true;
        set_key(row, queue, &list->keys[i], (size_t)(row - rows));
    }
    for (size_t i = OWNERS; i < OWNER_ROWS; i++) {
        if (rows[i].known && !kept[i])
            rows[i].known = false;
    }
    for (size_t i = 0; i < OWNERS; i++) {
        rows[i].number = (uint32_t)i;
        rows[i].queue.most = UINT32_MAX;
        rows[i].known = !list;
    }
    return 0;
}

struct owner *owner_find(struct owner rows[OWNER_ROWS], uint32_t number)
{
    size_t place = number & ((1 << ROW_BITS) - 1);
    return place < OWNER_ROWS && rows[place].known && rows[place].number == number ? &rows[place] : NULL;
}

static uint64_t interval_ns(const struct owner *owner)
{
    return owner->key.period_us * 1000 / owner->key.rate;
}

uint64_t owner_wait_us(const struct owner *owner, uint64_t now_us)
{
    if (!owner->key.rate)
        return 0;
    uint64_t now_ns = now_us * 1000, slack_ns = interval_ns(owner) * (owner->key.burst - 1);
    return owner->due_ns > now_ns + slack_ns ? (owner->due_ns - slack_ns - now_ns) / 1000 + 1 : 0;
}

void owner_spend(struct owner *owner, uint64_t now_us)
{
    uint64_t now_ns = now_us * 1000;
    if (owner->key.rate)
        owner->due_ns = (owner->due_ns > now_ns ? owner->due_ns : now_ns) + interval_ns(owner);
}
