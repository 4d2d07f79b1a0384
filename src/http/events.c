#include "events.h"

#include "json.h"
#include "scope.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    OUTPUT_BYTES = 4096,           /* of output in one event */
    PIECE_MOST = (1U << 31U) - 1U, /* struct events_piece */
};

static const char *const stream_names[EVENTS_STREAMS] = {"stdout", "stderr"};

/* ---- writing ---- */

void events_start(struct events *events)
{
    for (size_t i = 0; i < EVENTS_STREAMS; i++) {
        buffer_free(&events->text[i]);
        events->told[i] = 0;
    }
    events->origin += events->length + 1;
    events->length = events->piece_count = 0;
}

static struct events_piece *piece_for(struct events *events, unsigned stream, size_t length)
{
    struct events_piece *last = events->piece_count ? &events->pieces[events->piece_count - 1] : NULL;
    if (last && last->stream == stream && last->length <= PIECE_MOST - length)
        return last;
    if (!events->pieces || events->piece_count == events->piece_capacity) {
        size_t capacity = events->piece_capacity ? events->piece_capacity * 2 : 16;
        struct events_piece *pieces = reallocarray(events->pieces, capacity, sizeof *pieces);
        if (!pieces)
            return NULL;
        events->pieces = pieces;
        events->piece_capacity = capacity;
    }
    last = &events->pieces[events->piece_count++];
    *last = (struct events_piece){.stream = stream & 1U};
    return last;
}

/* Tells the stream's text up to `until`. */
static void tell(struct events *events, unsigned stream, size_t until)
{
    while (events->told[stream] < until) {
        size_t left = until - events->told[stream], length = left < PIECE_MOST ? left : PIECE_MOST;
        struct events_piece *piece = piece_for(events, stream, length);
        if (!piece)
            return;
        piece->length = (uint32_t)(piece->length + length) & PIECE_MOST;
        events->told[stream] += length;
        events->length += length;
    }
}

/* Where the text ends that is not told yet, without a character that was cut in two. */
static size_t whole_until(const struct events *events, unsigned stream)
{
    const struct buffer *text = &events->text[stream];
    size_t told = events->told[stream];
    return told + utf8_uncut((struct span){text->bytes + told, text->length - told}).length;
}

void events_output(struct events *events, unsigned stream, const void *bytes, size_t length)
{
    buffer_append(&events->text[stream], bytes, length);
    if (events->text[stream].length > events->told[stream])
        tell(events, stream, whole_until(events, stream));
}

void events_end(struct events *events, struct buffer *record, size_t result_at, size_t result_length,
                const bool cut[EVENTS_STREAMS])
{
    for (unsigned i = 0; i < EVENTS_STREAMS; i++) {
        if (!cut[i])
            tell(events, i, events->text[i].length);
    }
    events->record = *record;
    *record = (struct buffer){0};
    events->result = (struct span){events->record.bytes + result_at, result_length};
    events->over = true;
}

static uint64_t position_of_end(const struct events *events)
{
    return events->origin + events->length;
}

uint64_t events_last(const struct events *events)
{
    return position_of_end(events) + (events->over ? 1 + (events->result.length > 0) : 0);
}

size_t events_bytes(const struct events *events)
{
    size_t bytes = events->started.capacity + events->record.capacity + events->piece_capacity * sizeof *events->pieces;
    for (size_t i = 0; i < EVENTS_STREAMS; i++)
        bytes += events->text[i].capacity;
    return bytes;
}

void events_free(struct events *events)
{
    for (size_t i = 0; i < EVENTS_STREAMS; i++)
        buffer_free(&events->text[i]);
    buffer_free(&events->started);
    buffer_free(&events->record);
    free(events->pieces);
    *events = (struct events){0};
}

/* ---- reading ---- */

/* The piece that holds the reader's next byte, which there is. At a piece's end it stays there until then: the last one
 * may still grow. */
static const struct events_piece *next_piece(const struct events *events, struct events_reader *reader)
{
    while (reader->into == events->pieces[reader->piece].length) {
        reader->piece++;
        reader->into = 0;
    }
    return &events->pieces[reader->piece];
}

static void pass(struct events_reader *reader, const struct events_piece *piece, size_t length)
{
    reader->at[piece->stream] += length;
    reader->into += length;
}

static void find_place(const struct events *events, struct events_reader *reader)
{
    reader->origin = events->origin;
    reader->piece = reader->into = 0;
    memset(reader->at, 0, sizeof reader->at);
    for (uint64_t left = reader->position - events->origin, length; left > 0; left -= length) {
        const struct events_piece *piece = next_piece(events, reader);
        length = left < piece->length ? left : piece->length;
        pass(reader, piece, (size_t)length);
    }
}

static void begin_event(struct events_reader *reader, const char *name, uint64_t position)
{
    char head[64];
    int length = snprintf(head, sizeof head, "event: %s\nid: %" PRIu64 "\ndata: ", name, position);
    buffer_append(&reader->text, head, (size_t)length);
    reader->position = position;
}

static void end_event(struct events_reader *reader)
{
    buffer_append(&reader->text, "\n\n", 2);
}

static void tell_started(const struct events *events, struct events_reader *reader)
{
    begin_event(reader, "started", events->origin);
    buffer_append(&reader->text, events->started.bytes, events->started.length);
    end_event(reader);
}

/* A piece of the record follows; events_read() ends the event. */
static void tell_of_record(struct events_reader *reader, const struct events *events, const char *name,
                           struct span part)
{
    begin_event(reader, name, reader->position + 1);
    reader->record_at = (size_t)(part.bytes - events->record.bytes);
    reader->record_end = reader->record_at + part.length;
}

static void tell_output(const struct events *events, struct events_reader *reader)
{
    if (reader->origin != events->origin)
        find_place(events, reader);
    const struct events_piece *piece = next_piece(events, reader);
    struct span text = {events->text[piece->stream].bytes + reader->at[piece->stream], piece->length - reader->into};
    if (text.length > OUTPUT_BYTES) {
        text.length = OUTPUT_BYTES;
        text = utf8_uncut(text);
    }
    begin_event(reader, stream_names[piece->stream], reader->position + text.length);
    buffer_append(&reader->text, "{\"text\":", strlen("{\"text\":"));
    json_put_string(&reader->text, text);
    buffer_append(&reader->text, "}", 1);
    end_event(reader);
    pass(reader, piece, text.length);
}

/* Puts the next event into the reader's text; false where there is none. */
static bool next_event(const struct events *events, struct events_reader *reader)
{
    uint64_t end = position_of_end(events);
    if (reader->position < events->origin)
        tell_started(events, reader);
    else if (reader->position < end)
        tell_output(events, reader);
    else if (!events->over || events_done(events, reader))
        return false;
    else if (events->result.length && reader->position == end)
        tell_of_record(reader, events, "result", events->result);
    else
        tell_of_record(reader, events, "finished", (struct span){events->record.bytes, events->record.length});
    return true;
}

static size_t give(char *to, size_t room, const uint8_t *from, size_t length)
{
    size_t count = length < room ? length : room;
    if (count)
        memcpy(to, from, count);
    return count;
}

ssize_t events_read(const struct events *events, struct events_reader *reader, char *bytes, size_t size)
{
    size_t count = 0;
    while (count < size) {
        if (reader->text.failed)
            return -1;
        if (reader->given < reader->text.length) {
            size_t given = give(bytes + count, size - count, reader->text.bytes + reader->given,
                                reader->text.length - reader->given);
            reader->given += given;
            count += given;
            continue;
        }
        /* Whoever waits holds no memory. */
        buffer_free(&reader->text);
        reader->given = 0;
        if (reader->record_at < reader->record_end) {
            size_t given = give(bytes + count, size - count, events->record.bytes + reader->record_at,
                                reader->record_end - reader->record_at);
            reader->record_at += given;
            count += given;
            if (reader->record_at == reader->record_end)
                end_event(reader);
        } else if (!next_event(events, reader)) {
            break;
        }
    }
    return (ssize_t)count;
}

bool events_done(const struct events *events, const struct events_reader *reader)
{
    return events->over && reader->position == events_last(events) && reader->given == reader->text.length &&
           reader->record_at == reader->record_end;
}

void events_beat(struct events_reader *reader)
{
    if (reader->given == reader->text.length && reader->record_at == reader->record_end)
        buffer_append(&reader->text, ":\n\n", 3);
}

void events_reader_free(struct events_reader *reader)
{
    buffer_free(&reader->text);
    reader->record_at = reader->record_end = 0;
}
