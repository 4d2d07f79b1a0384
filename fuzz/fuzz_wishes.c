/* wishes.c and the names of runs.c, fed the lines of one text as a client's headers and path may hold them. Whatever
 * the bytes: weights are weights, the order of a preference's lines means nothing, and no name is taken for ours. */
#include "fuzz.h"

#include "runs.h"
#include "wishes.h"

#include <string.h>

enum { LINE_MOST = 512 };

static void check_wish(const struct wish *wish)
{
    must(wish->quality <= 1000 && wish->exactness <= 3);
    must(wish->exactness > 0 || wish->quality == 0);
}

static void take_line(struct wishes *all, const struct runs *runs, const char *line)
{
    struct wishes one = {0};
    struct kept *run;
    uint64_t id;
    wishes_accept(&one, line);
    check_wish(&one.json);
    check_wish(&one.events);
    must(!wishes_stream(&one) || one.events.quality > 0);
    wishes_prefer(&one, line);
    wishes_accept(all, line);
    wishes_prefer(all, line);
    must(all->async || !one.async);
    if (last_event_id(line, &id))
        must(strspn(line, "0123456789") == strlen(line) && id < UINT64_C(1000000000000000000));
    must(runs_find(runs, line, 0, &run) == RUNS_UNKNOWN);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const struct runs runs = {.key = "not a run's key"};
    struct wishes all = {0};
    while (length > 0) {
        char line[LINE_MOST];
        const uint8_t *end = memchr(bytes, '\n', length);
        size_t size = end ? (size_t)(end - bytes) : length, kept = size < LINE_MOST ? size : LINE_MOST - 1;
        memcpy(line, bytes, kept);
        line[kept] = 0;
        take_line(&all, &runs, line);
        bytes += size + (end != NULL);
        length -= size + (end != NULL);
    }
    check_wish(&all.json);
    check_wish(&all.events);
    return 0;
}
