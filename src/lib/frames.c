#include "frames.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_HEADER = 8 };

static bool buffer_room(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (more <= buffer->capacity - buffer->length)
        return true;
    size_t need, capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    if (__builtin_add_overflow(buffer->length, more, &need) || need > SIZE_MAX / 2) {
        buffer->failed = true;
        return false;
    }
    while (capacity < need)
        capacity *= 2;
    uint8_t *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0 || !buffer_room(buffer, length))
        return;
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    /* One byte more for the NUL, which does not stay. */
    if (length >= 0 && buffer_room(buffer, (size_t)length + 1)) {
        vsnprintf((char *)buffer->bytes + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
}

void buffer_append_frame(struct buffer *buffer, enum frame_tag tag, const void *bytes, size_t length)
{
    uint32_t header[2] = {(uint32_t)tag, (uint32_t)length};
    if (length > UINT32_MAX) {
        buffer->failed = true;
        return;
    }
    buffer_append(buffer, header, sizeof header);
    buffer_append(buffer, bytes, length);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}

int frame_next(struct span *rest, struct frame *frame)
{
    uint32_t header[2];
    if (rest->length == 0)
        return 0;
    if (rest->length < FRAME_HEADER)
        return -1;
    memcpy(header, rest->bytes, FRAME_HEADER);
    if (header[1] > rest->length - FRAME_HEADER)
        return -1;
    *frame = (struct frame){.tag = header[0], .data = {rest->bytes + FRAME_HEADER, header[1]}};
    rest->bytes += FRAME_HEADER + header[1];
    rest->length -= FRAME_HEADER + header[1];
    return 1;
}

bool frame_u32(const struct frame *frame, uint32_t *value)
{
    if (frame->data.length != sizeof *value)
        return false;
    memcpy(value, frame->data.bytes, sizeof *value);
    return true;
}
