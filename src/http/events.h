/* The events of one run, and a reader that goes through them at its own pace: a log that keeps what the run record
 * keeps and no more, so its size is the record's, whatever its readers do. Pure: memory in, text/event-stream out; it
 * trusts no byte of the output that it is given.
 *
 * Events: `started`, then `stdout` and `stderr` in the order in which they came, `result` where there is one,
 * `finished` with the whole record. Every event leads from one position to a later one, and its id is the position
 * after it: `started`, `result` and `finished` take 1, output takes as many as it has bytes. So a reader can go on
 * after any id that was ever given, however the output is cut into events for it. A run that has to be started anew
 * begins a second time: `started` again says that the output before it never was.
 *
 * Output is told in whole characters: the rest of one that was cut in two is waited for. Put together, the texts of
 * either stream are the record's. */
#ifndef SAFE_SCRIPT_EVENTS_H
#define SAFE_SCRIPT_EVENTS_H

#include "frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { EVENTS_STREAMS = 2 }; /* stdout, stderr */

/* Zero-initialised is the log of a run that has not begun. */
struct events {
    struct buffer text[EVENTS_STREAMS]; /* what is kept of each, as it came: appended to with events_output() only */
    size_t told[EVENTS_STREAMS];        /* of it, bytes that are in the log */
    struct events_piece {
        uint32_t stream : 1, length : 31;
    } * pieces; /* the output's order */
    size_t piece_count, piece_capacity;
    uint64_t origin; /* the position after the last `started`; 0: there was none */
    uint64_t length; /* bytes of output since */
    bool over;
    struct buffer started, record; /* the data of those two events: JSON in one line each */
    struct span result;            /* within the record; empty: none */
};

/* The run begins, or begins anew. */
void events_start(struct events *events);

/* The run wrote this to stream 0 (stdout) or 1 (stderr), and the record keeps it. Where memory fails text[].failed is
 * set, or the output comes with a later event. */
void events_output(struct events *events, unsigned stream, const void *bytes, size_t length);

/* The run is over. Takes *record; its result stands at result_at. Of a stream that was cut, a character that was cut in
 * two is left out, as in the record. */
void events_end(struct events *events, struct buffer *record, size_t result_at, size_t result_length,
                const bool cut[EVENTS_STREAMS]);

/* The id of the last event that there is; 0: none. */
uint64_t events_last(const struct events *events);

/* Memory that it holds. */
size_t events_bytes(const struct events *events);

void events_free(struct events *events);

/* Zero-initialised it begins with the first event; with `position` set to an id, after that one. It may be given ids
 * up to events_last(). */
struct events_reader {
    uint64_t position;
    uint64_t origin;                        /* of the log that the next three belong to; 0: not found yet */
    size_t piece, into, at[EVENTS_STREAMS]; /* where the position is in it */
    struct buffer text;                     /* the event that is being given out */
    size_t given;                           /* of it */
    size_t record_at, record_end;           /* what of the record follows it */
};

/* Gives out the next bytes of the stream, `size` at most. Returns their number; 0: nothing there now; -1: no memory.
 * Once events_done() there will be no more. */
ssize_t events_read(const struct events *events, struct events_reader *reader, char *bytes, size_t size);
bool events_done(const struct events *events, const struct events_reader *reader);

/* A comment, so that whoever is between us and the client sees that the connection lives. */
void events_beat(struct events_reader *reader);

void events_reader_free(struct events_reader *reader);

#endif
