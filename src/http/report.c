#include "report.h"

#include "json.h"
#include "request.h"

#include <string.h>

_Static_assert(VERDICT_NONE == 0, "a zeroed report is an empty one");

/* What is left of the report, one frame ahead. `frame.tag` is 0 once the bytes have ended or are no whole frame. */
struct reader {
    struct span rest;
    struct frame frame;
};

static void next(struct reader *reader)
{
    if (frame_next(&reader->rest, &reader->frame) <= 0)
        reader->frame = (struct frame){0};
}

/* Takes the frame at hand if it has this tag and at most this many bytes. */
static bool take_frame(struct reader *reader, enum frame_tag tag, uint64_t most, struct frame *frame)
{
    if (reader->frame.tag != tag || reader->frame.data.length > most)
        return false;
    *frame = reader->frame;
    next(reader);
    return true;
}

static bool take_span(struct reader *reader, enum frame_tag tag, uint64_t most, struct span *span)
{
    struct frame frame;
    if (!take_frame(reader, tag, most, &frame))
        return false;
    *span = frame.data;
    return true;
}

static bool take_u32(struct reader *reader, enum frame_tag tag, uint32_t *value)
{
    struct frame frame;
    return take_frame(reader, tag, sizeof *value, &frame) && frame_u32(&frame, value);
}

static bool parse_nonce(struct reader *reader, const uint8_t nonce[NONCE_BYTES])
{
    struct span span;
    return take_span(reader, FRAME_NONCE, NONCE_BYTES, &span) && span.length == NONCE_BYTES &&
           memcmp(span.bytes, nonce, NONCE_BYTES) == 0;
}

static bool parse_failure(struct reader *reader, struct verdict *verdict)
{
    uint32_t failure;
    if (!take_u32(reader, FRAME_FAILURE, &failure) || failure == 0 || failure >= FAIL_COUNT)
        return false;
    verdict->kind = VERDICT_FAILURE;
    verdict->failure = (enum failure)failure;
    return take_span(reader, FRAME_TYPE, REPORT_TYPE_BYTES, &verdict->type) &&
           take_span(reader, FRAME_MESSAGE, REPORT_MESSAGE_BYTES, &verdict->message) &&
           take_u32(reader, FRAME_LINE, &verdict->line) &&
           take_span(reader, FRAME_TRACEBACK, REPORT_TRACEBACK_BYTES, &verdict->traceback);
}

static bool known_path(const struct report *report, struct span path)
{
    for (size_t i = 0; i < report->file_count; i++) {
        struct span other = report->files[i].path;
        if (other.length == path.length && memcmp(other.bytes, path.bytes, path.length) == 0)
            return true;
    }
    return false;
}

static bool parse_files(struct reader *reader, uint64_t most, struct report *report)
{
    while (reader->frame.tag == FRAME_FILE_PATH) {
        struct report_file *file = &report->files[report->file_count];
        if (report->file_count == REPORT_FILES || !take_span(reader, FRAME_FILE_PATH, PATH_BYTES, &file->path) ||
            path_fault(file->path) || known_path(report, file->path) ||
            !take_span(reader, FRAME_FILE_DATA, most, &file->data))
            return false;
        most -= file->data.length;
        report->file_count++;
    }
    return true;
}

static bool parse_end(struct reader *reader)
{
    return reader->frame.tag == FRAME_END && reader->frame.data.length == 0 && reader->rest.length == 0;
}

/* The whole grammar (lib/frames.h) but for the result's own text. */
static bool parse_report(struct reader *reader, const uint8_t nonce[NONCE_BYTES], uint64_t most, struct report *report)
{
    if (!parse_nonce(reader, nonce))
        return false;
    if (take_span(reader, FRAME_RESULT, most, &report->result))
        report->verdict.kind = VERDICT_RESULT;
    else if (!parse_failure(reader, &report->verdict))
        return false;
    return parse_files(reader, most, report) && parse_end(reader);
}

int report_parse(struct span bytes, const uint8_t nonce[NONCE_BYTES], const struct limits *limits,
                 struct report *report)
{
    struct reader reader = {.rest = bytes};
    struct json_error error = {.reason = ""};
    memset(report, 0, sizeof *report);
    if (bytes.length == 0)
        return 0;
    next(&reader);
    if (parse_report(&reader, nonce, limits->value[LIMIT_RESULT], report) &&
        (report->verdict.kind != VERDICT_RESULT || json_canonical(report->result, &error) == 0))
        return 0;
    memset(report, 0, sizeof *report);
    report->verdict.kind = VERDICT_FORGED;
    return strcmp(error.reason, "out of memory") == 0 ? -1 : 0;
}

uint64_t report_most(const struct limits *limits)
{
    enum { HEADERS = 8 * (8 + 2 * REPORT_FILES) }; /* of all frames there can be */
    return 2 * limits->value[LIMIT_RESULT] + NONCE_BYTES + REPORT_TYPE_BYTES + REPORT_MESSAGE_BYTES +
           REPORT_TRACEBACK_BYTES + (uint64_t)REPORT_FILES * PATH_BYTES + 2 * sizeof(uint32_t) + HEADERS;
}
