/* json.c, fed raw text. What is canonical is JSON; what is JSON can be walked, unescaped and written again, and is then
 * canonical where it is put into an object. */
#include "fuzz.h"

#include "json.h"
#include "limit.h"

#include <string.h>

static void check_string(const struct json_value *string)
{
    struct buffer plain = {0}, again = {0};
    struct json_error error;
    bool surrogates;
    json_unescape(string, &plain, &surrogates);
    must(plain.length <= string->text.length);
    must((utf8_prefix((struct span){plain.bytes, plain.length}) == plain.length) == !surrogates);
    buffer_append(&again, "{\"k\":", 5);
    json_put_string(&again, (struct span){plain.bytes, plain.length});
    buffer_append(&again, "}", 1);
    must(json_canonical((struct span){again.bytes, again.length}, &error) == 0);
    if (!surrogates) {
        struct json_value object, key, value;
        struct buffer back = {0};
        size_t at = 0;
        must(json_check((struct span){again.bytes, again.length}, &object, &error) == 0);
        must(json_next(&object, &at, &key, &value));
        json_unescape(&value, &back, &surrogates);
        must(back.length == plain.length && (!back.length || memcmp(back.bytes, plain.bytes, back.length) == 0));
        buffer_free(&back);
    }
    buffer_free(&plain);
    buffer_free(&again);
}

/* Every value inside is again a text of its own: recursion is bounded by JSON_DEPTH, the work by `budget`. */
static void walk(const struct json_value *value, unsigned depth, unsigned *budget)
{
    struct json_value key, member;
    uint64_t number;
    size_t at = 0;
    must(depth <= JSON_DEPTH + 1);
    if (value->type == JSON_STRING)
        check_string(value);
    if (value->type == JSON_NUMBER)
        json_u64(value, &number);
    if (value->type != JSON_ARRAY && value->type != JSON_OBJECT)
        return;
    while (*budget && json_next(value, &at, &key, &member)) {
        struct json_value alone;
        struct json_error error;
        --*budget;
        must(member.text.bytes > value->text.bytes &&
             member.text.bytes + member.text.length < value->text.bytes + value->text.length);
        must(json_check(member.text, &alone, &error) == 0);
        must(alone.type == member.type && alone.text.length == member.text.length);
        if (value->type == JSON_OBJECT)
            check_string(&key);
        walk(&member, depth + 1, budget);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct span text = {bytes, length};
    struct json_value value;
    struct json_error error;
    unsigned budget = 300;
    bool canonical = json_canonical(text, &error) == 0;
    must(canonical || (error.offset <= length && error.reason));
    bool checked = json_check(text, &value, &error) == 0;
    must(checked || (error.offset <= length && error.reason));
    must(checked || !canonical);
    if (canonical)
        must(value.type == JSON_OBJECT && value.text.length == length);
    if (checked)
        walk(&value, 0, &budget);
    return 0;
}
