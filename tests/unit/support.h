/* What the unit tests share: cmocka, spans of literals, and copies that end exactly where their bytes do, so that a
 * sanitizer sees a read past the end. */
#ifndef SAFE_SCRIPT_TESTS_SUPPORT_H
#define SAFE_SCRIPT_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frames.h"
#include "scope.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A literal's bytes, NULs inside it too. */
#define SPAN(literal) ((struct span){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline struct span string_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline struct span buffer_span(const struct buffer *buffer)
{
    return (struct span){buffer->bytes, buffer->length};
}

static inline void scope_buffer(struct buffer *buffer)
{
    buffer_free(buffer);
}
#define auto_buffer __attribute__((cleanup(scope_buffer)))

/* The caller frees it. */
static inline uint8_t *exact_copy(struct span from)
{
    uint8_t *copy = malloc(from.length ? from.length : 1);
    assert_non_null(copy);
    if (from.length)
        memcpy(copy, from.bytes, from.length);
    return copy;
}

static inline void repeat(struct buffer *buffer, const char *text, size_t times)
{
    while (times--)
        buffer_append(buffer, text, strlen(text));
}

/* A buffer holds exactly this text. */
#define assert_buffer(buffer, text)                                                                                    \
    do {                                                                                                               \
        buffer_append((buffer), "", 1);                                                                                \
        (buffer)->length--;                                                                                            \
        assert_string_equal((const char *)(buffer)->bytes, (text));                                                    \
        assert_int_equal((buffer)->length, strlen(text));                                                              \
    } while (0)

/* A small generator (xorshift64*), so that a failing test fails again. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

#endif
