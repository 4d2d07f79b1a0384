/* Tagged frames: {u32 tag, u32 length, bytes}, host byte order. The one encoding of what is longer than a wire
 * message: the job (front → run, in a sealed memfd) and the report (run → front, in a pipe).
 *
 * The reader trusts nobody: every length is checked against what is left. No frame's content is interpreted here. */
#ifndef SAFE_SCRIPT_FRAMES_H
#define SAFE_SCRIPT_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NONCE_BYTES = 16 };

/* A job is: NONCE, SCRIPT, [INPUT], {FILE_PATH FILE_DATA}…, {GLOB}…, END.
 * A report is: NONCE, then RESULT or (FAILURE TYPE MESSAGE LINE TRACEBACK), then {FILE_PATH FILE_DATA}…, END; nothing
 * before and nothing after. A report that is anything else is the script's doing and never a success. */
enum frame_tag {
    FRAME_NONCE = 1, /* NONCE_BYTES random bytes: the report repeats the job's */
    FRAME_SCRIPT,    /* UTF-8, lone surrogates as three bytes ("surrogatepass") */
    FRAME_INPUT,     /* JSON text, checked by the front */
    FRAME_FILE_PATH, /* relative path, '/'-separated, UTF-8, no "." or ".." part; names the FILE_DATA that follows */
    FRAME_FILE_DATA,
    FRAME_GLOB,      /* pattern of files to return, relative to the working directory */
    FRAME_END,       /* empty */
    FRAME_RESULT,    /* canonical JSON text (http/json.h says which JSON is canonical) */
    FRAME_FAILURE,   /* u32, enum failure */
    FRAME_TYPE,      /* exception class name; may be empty */
    FRAME_MESSAGE,   /* its text; may be empty; for FAIL_NOT_JSON the whole reason; UTF-8 with surrogates replaced */
    FRAME_LINE,      /* u32, deepest line of the script itself, 0 when there is none */
    FRAME_TRACEBACK, /* as Python prints it, cut; may be empty */
};

/* Why a run that came to its own end has no result. */
enum failure {
    FAIL_NO_MAIN = 1, /* the script defines no main() */
    FAIL_NO_VALUE,    /* main() returned None */
    FAIL_NOT_OBJECT,  /* main() returned something other than a dict */
    FAIL_NOT_JSON,    /* the dict holds what JSON cannot */
    FAIL_TOO_BIG,     /* its JSON is longer than LIMIT_RESULT, or the returned files are */
    FAIL_TOO_MANY,    /* more than REPORT_FILES files match */
    FAIL_SYNTAX,      /* it defines main but does not compile */
    FAIL_RAISED,      /* an exception nobody caught */
    FAIL_MEMORY,      /* … which was a MemoryError */
    FAIL_DISK,        /* … which was OSError ENOSPC, EDQUOT or EFBIG */
    FAIL_PROCESSES,   /* … which said that no thread or process can be started */
    FAIL_FILES,       /* the request's files could not be placed (message says which and why) */
    FAIL_COUNT
};

/* Files that a report may return. */
enum { REPORT_FILES = 100 };

/* Exit status of a run that could not write its report because the script closed or replaced the channel. */
enum { EXIT_REPORTED = 0, EXIT_FAILED = 1, EXIT_NO_CHANNEL = 120 };

struct span {
    const uint8_t *bytes;
    size_t length;
};

struct frame {
    uint32_t tag;
    struct span data;
};

/* A growing buffer that frames (or any bytes) are appended to. Zero-initialised is empty. After a failed allocation
 * `failed` is set, appends do nothing, and `length` stays; check it once at the end. Owner frees `bytes`. */
struct buffer {
    uint8_t *bytes;
    size_t length, capacity;
    bool failed;
};

void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_append_frame(struct buffer *buffer, enum frame_tag tag, const void *bytes, size_t length);
/* Appends text as printf() words it. */
void buffer_print(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_free(struct buffer *buffer);

/* Takes the next frame off the front of *rest. Returns 1 and fills *frame, 0 at the end, -1 when what is left is not
 * a whole frame. */
int frame_next(struct span *rest, struct frame *frame);

/* The u32 in a frame's data; returns false when it does not hold exactly one. */
bool frame_u32(const struct frame *frame, uint32_t *value);

#endif
