#include "runs.h"

#include "scope.h"
#include "text.h"

#include <limits.h>
#include <string.h>
#include <sys/random.h>

static const char prefix[] = "run_";

enum { PREFIX_BYTES = sizeof prefix - 1, RANDOM_BYTES = 16, SUM_BYTES = 8, BUCKETS_FIRST = 64 };

_Static_assert(RUN_NAME_BYTES == PREFIX_BYTES + 2 * (RANDOM_BYTES + SUM_BYTES), "a name's parts");

/* ---- ids ---- */

static uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void mix(uint64_t v[4], int rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* SipHash-2-4 of the random bits and the owner. */
static uint64_t sum(const struct runs *runs, const uint8_t random[RANDOM_BYTES], uint64_t owner)
{
    const uint64_t words[] = {load64(random), load64(random + 8), owner, UINT64_C(24) << 56};
    uint64_t key[] = {load64(runs->key), load64(runs->key + 8)};
    uint64_t v[] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                    key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    for (size_t i = 0; i < COUNT(words); i++) {
        v[3] ^= words[i];
        mix(v, 2);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    mix(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Takes a name apart. False where it is none that we can have given to owner. */
static bool read_name(const struct runs *runs, const char *name, uint64_t owner, uint64_t *number)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[RANDOM_BYTES + SUM_BYTES];
    if (strlen(name) != RUN_NAME_BYTES || strncmp(name, prefix, PREFIX_BYTES) != 0 ||
        strspn(name + PREFIX_BYTES, digits) != 2 * sizeof bytes)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++) {
        const char *pair = name + PREFIX_BYTES + 2 * i;
        bytes[i] = (uint8_t)((strchr(digits, pair[0]) - digits) << 4 | (strchr(digits, pair[1]) - digits));
    }
    *number = load64(bytes);
    return load64(bytes + RANDOM_BYTES) == sum(runs, bytes, owner);
}

int runs_name(const struct runs *runs, uint64_t owner, char name[RUN_NAME_BYTES + 1])
{
    uint8_t bytes[RANDOM_BYTES + SUM_BYTES];
    if (getrandom(bytes, RANDOM_BYTES, 0) != RANDOM_BYTES)
        return -1;
    uint64_t ours = sum(runs, bytes, owner);
    memcpy(bytes + RANDOM_BYTES, &ours, sizeof ours);
    memcpy(name, prefix, PREFIX_BYTES);
    text_hex(bytes, sizeof bytes, name + PREFIX_BYTES);
    return 0;
}

/* ---- the table of names ---- */

static struct kept **bucket(const struct runs *runs, uint64_t number)
{
    return &runs->buckets[number & (runs->bucket_count - 1)]; /* the numbers are random: no hash is needed */
}

static int grow(struct runs *runs)
{
    struct runs wider = {.bucket_count = runs->bucket_count ? runs->bucket_count * 2 : BUCKETS_FIRST};
    wider.buckets = calloc(wider.bucket_count, sizeof(void *));
    if (!wider.buckets)
        return -1;
    for (size_t i = 0; i < runs->bucket_count; i++) {
        for (struct kept *run = runs->buckets[i], *next; run; run = next) {
            struct kept **at = bucket(&wider, run->number);
            next = run->next_of_bucket;
            run->next_of_bucket = *at;
            *at = run;
        }
    }
    free(runs->buckets);
    runs->buckets = wider.buckets;
    runs->bucket_count = wider.bucket_count;
    return 0;
}

struct kept *runs_add(struct runs *runs, const char *name, uint64_t owner, const char *environment)
{
    struct kept *run = NULL;
    uint64_t number;
    if (read_name(runs, name, owner, &number) && (runs->count < runs->bucket_count || grow(runs) == 0))
        run = calloc(1, sizeof *run);
    if (!run)
        return NULL;
    memcpy(run->name, name, sizeof run->name);
    run->number = number;
    run->owner = owner;
    run->environment = environment;
    struct kept **at = bucket(runs, number);
    run->next_of_bucket = *at;
    *at = run;
    runs->count++;
    return run;
}

enum runs_answer runs_find(const struct runs *runs, const char *name, uint64_t owner, struct kept **run)
{
    uint64_t number;
    if (!read_name(runs, name, owner, &number))
        return RUNS_UNKNOWN;
    for (*run = runs->bucket_count ? *bucket(runs, number) : NULL; *run; *run = (*run)->next_of_bucket) {
        if ((*run)->owner == owner && strcmp((*run)->name, name) == 0)
            return RUNS_FOUND;
    }
    return RUNS_GONE;
}

/* ---- watchers ---- */

void watcher_join(struct watcher *watcher, struct kept *run)
{
    watcher->run = run;
    watcher->previous = NULL;
    watcher->next = run->watchers;
    if (run->watchers)
        run->watchers->previous = watcher;
    run->watchers = watcher;
    run->watcher_count++;
}

void watcher_leave(struct watcher *watcher)
{
    struct kept *run = take(watcher->run);
    if (!run)
        return;
    *(watcher->previous ? &watcher->previous->next : &run->watchers) = watcher->next;
    if (watcher->next)
        watcher->next->previous = watcher->previous;
    run->watcher_count--;
}

void runs_told(struct kept *run)
{
    for (struct watcher *watcher = run->watchers, *next; watcher; watcher = next) {
        next = watcher->next;
        watcher->told(watcher);
    }
}

/* ---- the end ---- */

static void leave_finished(struct runs *runs, struct kept *run)
{
    if (!run->bytes)
        return; /* it is not over */
    *(run->older ? &run->older->newer : &runs->oldest) = run->newer;
    *(run->newer ? &run->newer->older : &runs->newest) = run->older;
    runs->bytes -= run->bytes;
}

void runs_forget(struct runs *runs, struct kept *run)
{
    struct kept **at = bucket(runs, run->number);
    while (*at != run)
        at = &(*at)->next_of_bucket;
    *at = run->next_of_bucket;
    runs->count--;
    leave_finished(runs, run);
    while (run->watchers) {
        struct watcher *watcher = run->watchers;
        watcher_leave(watcher);
        watcher->told(watcher);
    }
    events_free(&run->events);
    free(run);
}

void runs_over(struct runs *runs, struct kept *run, uint64_t now_ms)
{
    run->flight = NULL;
    run->over_ms = now_ms;
    run->bytes = sizeof *run + events_bytes(&run->events);
    run->older = runs->newest;
    *(runs->newest ? &runs->newest->newer : &runs->oldest) = run;
    runs->newest = run;
    runs->bytes += run->bytes;
    /* This one stays, however large: who waits for it shall have it. */
    while (runs->bytes > runs->keep_bytes && runs->oldest != run)
        runs_forget(runs, runs->oldest);
    runs_told(run);
}

int runs_deadline(struct runs *runs, uint64_t now_ms)
{
    while (runs->oldest && runs->oldest->over_ms + runs->keep_ms <= now_ms)
        runs_forget(runs, runs->oldest);
    if (!runs->oldest)
        return -1;
    uint64_t left = runs->oldest->over_ms + runs->keep_ms - now_ms;
    return left < INT_MAX ? (int)left : INT_MAX;
}

/* ---- open and close ---- */

int runs_open(struct runs *runs)
{
    return getrandom(runs->key, sizeof runs->key, 0) == sizeof runs->key ? 0 : -1;
}

void runs_close(struct runs *runs)
{
    for (size_t i = 0; i < runs->bucket_count; i++) {
        for (struct kept *run = runs->buckets[i], *next; run; run = next) {
            next = run->next_of_bucket;
            runs_forget(runs, run);
        }
    }
    free(take(runs->buckets));
    runs->bucket_count = 0;
}
