/* events.c, fed what a run may print, in any pieces, to readers that come and go at any time. Whoever reads gets whole
 * events with ids that rise, valid UTF-8, and goes on where he was. */
#include "fuzz.h"

#include "events.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* Reads all that is there now, in steps of `size`. */
static void read_all(const struct events *events, struct events_reader *reader, size_t size, struct buffer *out)
{
    char bytes[256];
    ssize_t length;
    while ((length = events_read(events, reader, bytes, size)) > 0)
        buffer_append(out, bytes, (size_t)length);
    must(length == 0);
    must(reader->position == events_last(events));
}

static void check_stream(const struct buffer *stream)
{
    uint64_t last = 0;
    must(utf8_prefix((struct span){stream->bytes, stream->length}) == stream->length);
    must(stream->length == 0 || stream->bytes[stream->length - 1] == '\n');
    for (const char *at = (const char *)stream->bytes; at && (at = strstr(at, "\nid: "));) {
        uint64_t id = strtoull(at + 5, NULL, 10);
        must(id > last);
        last = id;
        at++;
    }
}

static void check_rest(const struct events *events, uint64_t after)
{
    struct events_reader reader = {.position = after};
    struct buffer rest = {0};
    read_all(events, &reader, 256, &rest);
    buffer_append(&rest, "", 1);
    rest.length--;
    check_stream(&rest);
    events_reader_free(&reader);
    buffer_free(&rest);
}

/* Each step: a byte that says what is done, its high bits how much of what follows is output. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct events events = {0};
    struct events_reader reader = {0};
    struct buffer live = {0}, record = {0};
    buffer_append(&events.started, "{}", 2);
    events_start(&events);
    while (length > 0) {
        uint8_t step = *bytes++;
        length--;
        size_t size = (size_t)(step >> 3) < length ? (size_t)(step >> 3) : length;
        if ((step & 7) == 7)
            events_start(&events);
        else if ((step & 7) == 6)
            check_rest(&events, size % (events_last(&events) + 1));
        else if ((step & 7) == 5)
            read_all(&events, &reader, 1 + size, &live);
        else
            events_output(&events, step & 1, bytes, size);
        bytes += (step & 7) < 5 ? size : 0;
        length -= (step & 7) < 5 ? size : 0;
    }
    buffer_append(&record, "{\"result\":{}}", 13);
    events_end(&events, &record, 10, 2, (bool[]){true, false});
    read_all(&events, &reader, 100, &live);
    must(events_done(&events, &reader));
    buffer_append(&live, "", 1);
    live.length--;
    check_stream(&live);
    check_rest(&events, 0);
    events_reader_free(&reader);
    buffer_free(&live);
    events_free(&events);
    return 0;
}
