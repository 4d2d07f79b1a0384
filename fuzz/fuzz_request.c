/* request.c, fed a body. The first byte picks the content type, the rest is the body. What is accepted is a job in the
 * right order and within the limits; what is refused is explained in one line. */
#include "fuzz.h"

#include "json.h"
#include "request.h"

#include <string.h>

static const char *const types[] = {"application/json", "application/json; charset=utf-8", "text/x-python",
                                    "text/plain"};

static const uint8_t nonce[NONCE_BYTES] = "nonce of a fuzz";

/* Which frame may follow which, as lib/frames.h has it. */
static bool follows(uint32_t before, uint32_t tag)
{
    switch (tag) {
    case FRAME_SCRIPT:
        return before == FRAME_NONCE;
    case FRAME_INPUT:
        return before == FRAME_SCRIPT;
    case FRAME_FILE_DATA:
        return before == FRAME_FILE_PATH;
    case FRAME_FILE_PATH:
        return before == FRAME_SCRIPT || before == FRAME_INPUT || before == FRAME_FILE_DATA;
    case FRAME_GLOB:
    case FRAME_END:
        return before >= FRAME_SCRIPT && before != FRAME_FILE_PATH && before != FRAME_END;
    default:
        return false;
    }
}

static void check_job(const struct request *request)
{
    struct span rest = {request->job.bytes, request->job.length};
    struct frame frame;
    struct json_value value;
    struct json_error error;
    uint64_t file_bytes = 0;
    must(frame_next(&rest, &frame) == 1 && frame.tag == FRAME_NONCE && frame.data.length == NONCE_BYTES);
    must(memcmp(frame.data.bytes, nonce, NONCE_BYTES) == 0);
    uint32_t before = FRAME_NONCE;
    while (before != FRAME_END) {
        must(frame_next(&rest, &frame) == 1);
        must(follows(before, frame.tag));
        if (frame.tag == FRAME_FILE_PATH || frame.tag == FRAME_GLOB)
            must(!path_fault(frame.data));
        if (frame.tag == FRAME_INPUT)
            must(json_check(frame.data, &value, &error) == 0);
        if (frame.tag == FRAME_FILE_DATA)
            file_bytes += frame.data.length;
        before = frame.tag;
    }
    must(rest.length == 0);
    must(file_bytes <= request->limits.value[LIMIT_DISK]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct environment_offers offers = {
        {{.name = "default", .offered = true},
         {.name = "data", .offered = true, .warmer = true, .modules = "numpy pandas "},
         {.name = "gone"},
         {.warmer = true, .modules = "numpy "}}};
    struct limits server;
    struct request request;
    struct request_error error = {0};
    if (length == 0)
        return 0;
    limits_default(&server);
    server.value[LIMIT_REQUEST] = 4096;
    offers.rows[0].limits = offers.rows[1].limits = offers.rows[3].limits = server;
    offers.rows[1].limits.value[LIMIT_MEMORY] *= 2; /* more than the client may have */
    struct span body = {bytes + 1, length - 1};
    if (request_parse(body, types[bytes[0] % 4], &offers, &server, nonce, &request, &error) < 0) {
        size_t used = strnlen(error.text, sizeof error.text);
        must(used > 0 && used < sizeof error.text);
        must(utf8_prefix((struct span){(const uint8_t *)error.text, used}) == used);
        for (size_t i = 0; i < used; i++)
            must((uint8_t)error.text[i] >= 0x20 && error.text[i] != 0x7f);
        must(error.http == 400 || (error.http == 413 && body.length > 4096) || error.http == 415);
        must(!request.job.bytes && !request.stdin_bytes.bytes);
        return 0;
    }
    check_job(&request);
    must(request.environment <= 1 && (request.warmer <= 1 || (request.warmer == 3 && request.environment == 0)));
    for (int i = 0; i < LIMIT_COUNT; i++)
        must(request.limits.value[i] <= server.value[i] && request.limits.value[i] >= limit_table[i].least);
    must(utf8_prefix((struct span){request.stdin_bytes.bytes, request.stdin_bytes.length}) ==
         request.stdin_bytes.length);
    request_free(&request);
    return 0;
}
