/* json.c: what is taken, what is refused and where, what is canonical, and that no input costs more than its size. */
#include "support.h"

#include "json.h"
#include "limit.h"

/* How each reader takes a text: C both, R requests only, - neither, then with this reason at this offset. */
static const struct {
    struct span text;
    char taken;
    size_t offset;
    const char *reason;
} texts[] = {
    {SPAN("{}"), 'C'},
    {SPAN("{\"a\":1}"), 'C'},
    {SPAN("{\"a\":[],\"b\":{},\"c\":[{}]}"), 'C'},
    {SPAN("{\"a\":[1,2,3],\"b\":\"x\",\"c\":null,\"d\":true,\"e\":false}"), 'C'},
    {SPAN("{\"\":\"\"}"), 'C'},
    {SPAN("{\"a\":-0,\"b\":-0.0,\"c\":1e+308,\"d\":1e-05,\"e\":0.1,\"f\":1E5,\"g\":1e5}"), 'C'},
    {SPAN("{\"a\":1606938044258990275541962092341162602522202993782792835301376}"), 'C'},
    {SPAN("{\"a\":\"\\ud800\"}"), 'C'},
    {SPAN("{\"a\":\"\\udfff\\ud800x\"}"), 'C'},
    {SPAN("{\"a\":\"\\u0000\\u001f\\u000b\"}"), 'C'},
    {SPAN("{\"a\":\"\\\"\\\\\\b\\f\\n\\r\\t\"}"), 'C'},
    {SPAN("{\"a\":\"\x7f\"}"), 'C'},
    {SPAN("{\"ä\":\"€😀\xf4\x8f\xbf\xbf\"}"), 'C'},
    {SPAN("{\"a\":1,\"A\":2,\"a \":3,\"aa\":4}"), 'C'},
    {SPAN("{\"a\\u0000\":1,\"a\":2}"), 'C'},
    {SPAN("{\"longer than eight a\":1,\"longer than eight b\":2}"), 'C'},
    {SPAN("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}"), 'C'},
    {SPAN("[]"), 'R'},
    {SPAN("0"), 'R'},
    {SPAN("-0"), 'R'},
    {SPAN("\"x\""), 'R'},
    {SPAN("null"), 'R'},
    {SPAN(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n"), 'R'},
    {SPAN("{\"a\": 1}"), 'R'},
    {SPAN("{\"a\":1}\n"), 'R'},
    {SPAN("{\"a\":\"\\/\"}"), 'R'},
    {SPAN("{\"a\":\"\\u000a\"}"), 'R'},
    {SPAN("{\"a\":\"\\u000A\"}"), 'R'},
    {SPAN("{\"a\":\"\\u001F\"}"), 'R'},
    {SPAN("{\"a\":\"\\u0020\"}"), 'R'},
    {SPAN("{\"a\":\"\\u0022\"}"), 'R'},
    {SPAN("{\"a\":\"\\u0041\"}"), 'R'},
    {SPAN("{\"a\":\"\\u007f\"}"), 'R'},
    {SPAN("{\"a\":\"\\u20ac\"}"), 'R'},
    {SPAN("{\"a\":\"\\uD800\"}"), 'R'},
    {SPAN("{\"a\":\"\\ud7ff\"}"), 'R'},
    {SPAN("{\"a\":\"\\ue000\"}"), 'R'},
    {SPAN(""), '-', 0, "unexpected end"},
    {SPAN(" "), '-', 1, "unexpected end"},
    {SPAN("\xef\xbb\xbf{}"), '-', 0, "starts with a byte-order mark"},
    {SPAN("\xef\xbb"), '-', 0, "expected a value"},
    {SPAN("{} {}"), '-', 3, "unexpected text after the value"},
    {SPAN("{}\0"), '-', 2, "unexpected text after the value"},
    {SPAN("{}}"), '-', 2, "unexpected text after the value"},
    {SPAN("nul"), '-', 0, "expected a value"},
    {SPAN("nulL"), '-', 0, "expected a value"},
    {SPAN("nullx"), '-', 4, "unexpected text after the value"},
    {SPAN("True"), '-', 0, "expected a value"},
    {SPAN("NaN"), '-', 0, "expected a value"},
    {SPAN("Infinity"), '-', 0, "expected a value"},
    {SPAN("-Infinity"), '-', 1, "invalid number"},
    {SPAN("'a'"), '-', 0, "expected a value"},
    {SPAN("+1"), '-', 0, "expected a value"},
    {SPAN(".5"), '-', 0, "expected a value"},
    {SPAN("-"), '-', 1, "unexpected end"},
    {SPAN("01"), '-', 1, "invalid number"},
    {SPAN("-01"), '-', 2, "invalid number"},
    {SPAN("1."), '-', 2, "unexpected end"},
    {SPAN("1.e5"), '-', 2, "invalid number"},
    {SPAN("1e"), '-', 2, "unexpected end"},
    {SPAN("1e+"), '-', 3, "unexpected end"},
    {SPAN("1e+x"), '-', 3, "invalid number"},
    {SPAN("0x10"), '-', 1, "unexpected text after the value"},
    {SPAN("1_000"), '-', 1, "unexpected text after the value"},
    {SPAN("[1,]"), '-', 3, "expected a value"},
    {SPAN("[,1]"), '-', 1, "expected a value"},
    {SPAN("[1 2]"), '-', 3, "expected ',' or ']'"},
    {SPAN("[1}"), '-', 2, "expected ',' or ']'"},
    {SPAN("["), '-', 1, "unexpected end"},
    {SPAN("[1"), '-', 2, "unexpected end"},
    {SPAN("[1,"), '-', 3, "unexpected end"},
    {SPAN("]"), '-', 0, "expected a value"},
    {SPAN("{"), '-', 1, "unexpected end"},
    {SPAN("{\"a\""), '-', 4, "unexpected end"},
    {SPAN("{\"a\":"), '-', 5, "unexpected end"},
    {SPAN("{\"a\":1"), '-', 6, "unexpected end"},
    {SPAN("{\"a\":1,"), '-', 7, "unexpected end"},
    {SPAN("{\"a\":1,}"), '-', 7, "expected a key"},
    {SPAN("{\"a\":1]"), '-', 6, "expected ',' or '}'"},
    {SPAN("{\"a\" 1}"), '-', 5, "expected ':'"},
    {SPAN("{a:1}"), '-', 1, "expected a key"},
    {SPAN("{1:1}"), '-', 1, "expected a key"},
    {SPAN("{,}"), '-', 1, "expected a key"},
    {SPAN("{\"a\":}"), '-', 5, "expected a value"},
    {SPAN("/* */{}"), '-', 0, "expected a value"},
    {SPAN("{}//"), '-', 2, "unexpected text after the value"},
    {SPAN("{\"a\v\":1}"), '-', 3, "control character in a string"},
    {SPAN("\"\n\""), '-', 1, "control character in a string"},
    {SPAN("\"\0\""), '-', 1, "control character in a string"},
    {SPAN("\"a"), '-', 2, "unexpected end"},
    {SPAN("\"\\"), '-', 2, "unexpected end"},
    {SPAN("\"\\\""), '-', 3, "unexpected end"},
    {SPAN("\"\\x41\""), '-', 1, "invalid escape"},
    {SPAN("\"\\\0\""), '-', 1, "invalid escape"},
    {SPAN("\"\\U0041\""), '-', 1, "invalid escape"},
    {SPAN("\"\\u"), '-', 3, "unexpected end"},
    {SPAN("\"\\u004"), '-', 6, "unexpected end"},
    {SPAN("\"\\u004\""), '-', 1, "invalid escape"},
    {SPAN("\"\\u00g1\""), '-', 1, "invalid escape"},
    {SPAN("\"\x80\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xff\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xc0\x80\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xc1\xbf\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xc3\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xe0\x9f\xbf\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xed\xa0\x80\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xf0\x8f\xbf\xbf\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xf4\x90\x80\x80\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xf5\x80\x80\x80\""), '-', 1, "invalid UTF-8"},
    {SPAN("\"\xe2\x82"), '-', 1, "invalid UTF-8"},
    {SPAN("{\"a\":1,\"a\":1}"), '-', 7, "duplicate key"},
    {SPAN("{\"a\":1,\"b\":1,\"c\":1,\"b\":1,\"a\":1}"), '-', 19, "duplicate key"},
    {SPAN("{\"a\":1,\"\\u0061\":1}"), '-', 7, "duplicate key"},
    {SPAN("{\"\\u0061\":1,\"a\":1}"), '-', 12, "duplicate key"},
    {SPAN("{\"\":1,\"\":1}"), '-', 6, "duplicate key"},
    {SPAN("{\"\\u0000\":1,\"\\u0000\":1}"), '-', 12, "duplicate key"},
    {SPAN("{\"\\ud83d\\ude00\":1,\"😀\":2}"), '-', 18, "duplicate key"},
    {SPAN("{\"\\ud800\":1,\"\\uD800\":2}"), '-', 12, "duplicate key"},
    {SPAN("{\"\\/\":1,\"/\":2}"), '-', 8, "duplicate key"},
    {SPAN("[{\"x\":{\"a\":1,\"a\":2}}]"), '-', 13, "duplicate key"},
    {SPAN("{\"longer than eight\":1,\"longer than eight\":2}"), '-', 23, "duplicate key"},
    {SPAN("{\"longer than eight\":1,\"longer than eigh\\u0074\":2}"), '-', 23, "duplicate key"},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        auto_free uint8_t *copy = exact_copy(texts[i].text);
        struct span text = {copy, texts[i].text.length};
        struct json_value value;
        struct json_error error = {0};
        int checked = json_check(text, &value, &error);
        if ((checked == 0) != (texts[i].taken != '-'))
            fail_msg("text %zu: %.*s: %s at %zu", i, (int)text.length, text.bytes, error.reason, error.offset);
        if (checked < 0) {
            if (strcmp(error.reason, texts[i].reason) != 0 || error.offset != texts[i].offset)
                fail_msg("text %zu: %.*s: %s at %zu", i, (int)text.length, text.bytes, error.reason, error.offset);
        }
        if ((json_canonical(text, &error) == 0) != (texts[i].taken == 'C'))
            fail_msg("text %zu, canonical: %.*s: %s at %zu", i, (int)text.length, text.bytes, error.reason,
                     error.offset);
    }
}

static void test_where(void **state)
{
    (void)state;
    struct json_value value;
    struct json_error error;
    assert_int_equal(json_check(SPAN("{\"a\": 1,\n \"b\": 2,\n    \"a\": 3}"), &value, &error), -1);
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 5);
    assert_int_equal(json_check((struct span){0}, &value, &error), -1);
    assert_int_equal(error.line, 1);
    assert_int_equal(json_canonical((struct span){0}, &error), -1);
    assert_int_equal(json_check(SPAN("\n\n"), &value, &error), -1);
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 1);
}

static const struct span sample = SPAN("{\"k\\u0065y\":[0,-12.5e-3,true,false,null,\"\\ud83d\\ude00 "
                                       "\\n€😀\"],\"other\":{\"a\":{},\"b\":[]},\"z\":\"\\ud800\"}");

/* No beginning of a text is a text, and none is read past its end. */
static void test_truncated(void **state)
{
    (void)state;
    for (size_t length = 0; length <= sample.length; length++) {
        auto_free uint8_t *copy = exact_copy((struct span){sample.bytes, length});
        struct json_value value;
        struct json_error error;
        int expected = length == sample.length ? 0 : -1;
        assert_int_equal(json_check((struct span){copy, length}, &value, &error), expected);
        assert_int_equal(json_canonical((struct span){copy, length}, &error), -1);
    }
}

/* Whatever a byte becomes: nothing breaks, and what is canonical is also JSON. */
static void test_flipped(void **state)
{
    (void)state;
    auto_free uint8_t *copy = exact_copy(sample);
    struct span text = {copy, sample.length};
    for (size_t at = 0; at < text.length; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            struct json_value value;
            struct json_error error;
            copy[at] = (uint8_t)byte;
            int checked = json_check(text, &value, &error);
            assert_true(checked == 0 || error.offset <= text.length);
            assert_true(json_canonical(text, &error) < 0 || checked == 0);
        }
        copy[at] = sample.bytes[at];
    }
}

static int check_nested(const char *open, const char *inside, const char *close, size_t depth)
{
    auto_buffer struct buffer text = {0};
    struct json_value value;
    struct json_error error;
    repeat(&text, open, depth);
    repeat(&text, inside, 1);
    repeat(&text, close, depth);
    int result = json_check(buffer_span(&text), &value, &error);
    if (result < 0)
        assert_string_equal(error.reason, "nested too deeply (more than 800 levels)");
    return result;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(check_nested("[", "", "]", JSON_DEPTH), 0);
    assert_int_equal(check_nested("[", "", "]", JSON_DEPTH + 1), -1);
    assert_int_equal(check_nested("{\"a\":", "1", "}", JSON_DEPTH), 0);
    assert_int_equal(check_nested("{\"a\":", "1", "}", JSON_DEPTH + 1), -1);
    assert_int_equal(check_nested("[{\"a\":", "[]", "}]", JSON_DEPTH / 2), -1);
    assert_int_equal(check_nested("[", "", "", 100000), -1);
    assert_int_equal(check_nested("[", "", "]", 100000), -1);
    assert_int_equal(check_nested("{\"a\":", "", "", 100000), -1);

    auto_buffer struct buffer text = {0};
    struct json_error error;
    repeat(&text, "{\"a\":", JSON_DEPTH);
    repeat(&text, "1", 1);
    repeat(&text, "}", JSON_DEPTH);
    assert_int_equal(json_canonical(buffer_span(&text), &error), 0);
}

/* A wide array after a deep one: the depth is what is open, not what was ever opened. */
static void test_depth_returns(void **state)
{
    (void)state;
    auto_buffer struct buffer text = {0};
    struct json_value value;
    struct json_error error;
    repeat(&text, "[", 1);
    for (int i = 0; i < 3; i++) {
        repeat(&text, i ? ",[" : "[", 1);
        repeat(&text, "[", JSON_DEPTH - 2);
        repeat(&text, "]", JSON_DEPTH - 1);
    }
    repeat(&text, ",[]", 10000);
    repeat(&text, "]", 1);
    assert_int_equal(json_check(buffer_span(&text), &value, &error), 0);
}

/* Objects of many keys: in order, in reverse, at random, with long common beginnings, all with escapes. */
static void test_many_keys(void **state)
{
    static const struct {
        const char *stem;
        unsigned count;
        uint64_t factor;
    } rows[] = {
        {"", 1000000, 1},
        {"", 300000, UINT64_C(0) - 1},
        {"", 300000, UINT64_C(11400714819323198485)},
        {"the same for all of these keys, which are compared a lot ", 100000, 7919},
        {"\\u0061\\ud83d\\ude00 ", 200000, 7919},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_buffer struct buffer text = {0};
        struct json_value value;
        struct json_error error;
        char piece[128];
        repeat(&text, "{", 1);
        for (unsigned n = 0; n < rows[i].count; n++) {
            snprintf(piece, sizeof piece, "%s\"%s%llu\":0", n ? "," : "", rows[i].stem,
                     (unsigned long long)(n * rows[i].factor));
            repeat(&text, piece, 1);
        }
        size_t length = text.length;
        repeat(&text, "}", 1);
        assert_int_equal(json_check(buffer_span(&text), &value, &error), 0);
        text.length = length;
        snprintf(piece, sizeof piece, ",\"%s%llu\":0", rows[i].stem,
                 (unsigned long long)(rows[i].count / 2 * rows[i].factor));
        repeat(&text, piece, 1);
        repeat(&text, "}", 1);
        assert_int_equal(json_check(buffer_span(&text), &value, &error), -1);
        assert_string_equal(error.reason, "duplicate key");
        assert_int_equal(error.offset, length + 1);
    }
}

/* Small objects of every size around the sort's steps, each key at each place the duplicate. */
static void test_duplicates_exhaustive(void **state)
{
    (void)state;
    for (unsigned count = 2; count <= 20; count++) {
        for (unsigned first = 0; first < count; first++) {
            for (unsigned second = first + 1; second < count; second++) {
                auto_buffer struct buffer text = {0};
                struct json_error error;
                size_t expected = 0;
                for (unsigned n = 0; n < count; n++) {
                    char piece[32];
                    repeat(&text, n ? "," : "{", 1);
                    if (n == second)
                        expected = text.length;
                    snprintf(piece, sizeof piece, "\"%u\":{}", (n == second ? first : n) * 7 % 23);
                    repeat(&text, piece, 1);
                }
                repeat(&text, "}", 1);
                assert_int_equal(json_canonical(buffer_span(&text), &error), -1);
                assert_string_equal(error.reason, "duplicate key");
                assert_int_equal(error.offset, expected);
            }
        }
    }
}

static void test_huge(void **state)
{
    static const char *const pieces[] = {"1,",         "\"x\",",   "{},",    "[],",
                                         "{\"a\":1},", "\"\\n\",", "\"€\",", "-1.5e-7 , "};
    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        auto_buffer struct buffer text = {0};
        struct json_value value;
        struct json_error error;
        repeat(&text, "[", 1);
        repeat(&text, pieces[i], (8 << 20) / strlen(pieces[i]));
        repeat(&text, "0]", 1);
        assert_int_equal(json_check(buffer_span(&text), &value, &error), 0);
    }
    auto_buffer struct buffer digits = {0};
    struct json_value value;
    struct json_error error;
    repeat(&digits, "7", 8 << 20);
    assert_int_equal(json_check(buffer_span(&digits), &value, &error), 0);
    uint64_t number;
    assert_false(json_u64(&value, &number));
}

static void test_walk(void **state)
{
    (void)state;
    struct json_value value, key, member;
    struct json_error error;
    size_t at = 0;
    struct span text =
        SPAN(" { \"a\" : [1, {\"x\": \"]}\\\"\"}] ,\"b\":\"\\\\\",\"c\": -1.5 , \"d\":{} ,\"e\":true } ");
    static const struct {
        const char *key, *text;
        enum json_type type;
    } expected[] = {{"a", "[1, {\"x\": \"]}\\\"\"}]", JSON_ARRAY},
                    {"b", "\"\\\\\"", JSON_STRING},
                    {"c", "-1.5", JSON_NUMBER},
                    {"d", "{}", JSON_OBJECT},
                    {"e", "true", JSON_TRUE}};
    assert_int_equal(json_check(text, &value, &error), 0);
    assert_int_equal(value.type, JSON_OBJECT);
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(json_next(&value, &at, &key, &member));
        assert_true(json_is(&key, expected[i].key));
        assert_int_equal(member.type, expected[i].type);
        assert_int_equal(member.text.length, strlen(expected[i].text));
        assert_memory_equal(member.text.bytes, expected[i].text, member.text.length);
    }
    assert_false(json_next(&value, &at, &key, &member));
    assert_false(json_next(&value, &at, &key, &member));

    at = 0;
    assert_int_equal(json_check(SPAN("[ null,false , 12 ]"), &value, &error), 0);
    assert_true(json_next(&value, &at, NULL, &member) && member.type == JSON_NULL);
    assert_true(json_next(&value, &at, NULL, &member) && member.type == JSON_FALSE);
    assert_true(json_next(&value, &at, NULL, &member) && member.type == JSON_NUMBER && member.text.length == 2);
    assert_false(json_next(&value, &at, NULL, &member));

    static const char *const empty[] = {"{}", "[]", "{ \n}", "[ ]"};
    for (size_t i = 0; i < COUNT(empty); i++) {
        at = 0;
        assert_int_equal(json_check(string_span(empty[i]), &value, &error), 0);
        assert_false(json_next(&value, &at, &key, &member));
    }
}

static void test_unescape(void **state)
{
    static const struct {
        struct span text, plain;
        bool surrogates;
    } rows[] = {
        {SPAN("\"\""), SPAN("")},
        {SPAN("\"plain €\""), SPAN("plain €")},
        {SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SPAN("\"\\/\b\f\n\r\t")},
        {SPAN("\"a\\u0000b\""), SPAN("a\0b")},
        {SPAN("\"\\u00e9\\u20AC\\uffff\""), SPAN("é€\xef\xbf\xbf")},
        {SPAN("\"\\ud83d\\ude00\\uDBFF\\uDFFF\""), SPAN("😀\xf4\x8f\xbf\xbf")},
        {SPAN("\"\\ud800\""), SPAN("\xed\xa0\x80"), true},
        {SPAN("\"\\udfff\""), SPAN("\xed\xbf\xbf"), true},
        {SPAN("\"\\ud83dx\\ude00\""), SPAN("\xed\xa0\xbdx\xed\xb8\x80"), true},
        {SPAN("\"\\ude00\\ud83d\""), SPAN("\xed\xb8\x80\xed\xa0\xbd"), true},
        {SPAN("\"\\ud83d\\ud83d\\ude00\""), SPAN("\xed\xa0\xbd😀"), true},
        {SPAN("\"\\ud83d\\n\""), SPAN("\xed\xa0\xbd\n"), true},
        {SPAN("\"\\ud83d\\u0041\""),
         SPAN("\xed\xa0\xbd"
              "A"),
         true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_free uint8_t *copy = exact_copy(rows[i].text);
        auto_buffer struct buffer out = {0};
        struct json_value value;
        struct json_error error;
        bool surrogates;
        assert_int_equal(json_check((struct span){copy, rows[i].text.length}, &value, &error), 0);
        json_unescape(&value, &out, &surrogates);
        assert_int_equal(out.length, rows[i].plain.length);
        if (out.length)
            assert_memory_equal(out.bytes, rows[i].plain.bytes, out.length);
        assert_int_equal(surrogates, rows[i].surrogates);
    }
}

static void test_is(void **state)
{
    static const struct {
        const char *string, *text;
        bool is;
    } rows[] = {
        {"\"abc\"", "abc", true}, {"\"\\u0061bc\"", "abc", true},   {"\"\"", "", true},
        {"\"ab\"", "abc", false}, {"\"abcd\"", "abc", false},       {"\"\"", "a", false},
        {"\"a\"", "", false},     {"\"abc\\u0000\"", "abc", false}, {"\"é\"", "e", false},
        {"\"\\n\"", "\n", true},  {"\"\\n\"", "n", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json_value value = {JSON_STRING, string_span(rows[i].string)};
        assert_int_equal(json_is(&value, rows[i].text), rows[i].is);
    }
}

static void test_u64(void **state)
{
    static const struct {
        const char *text;
        bool whole;
        uint64_t value;
    } rows[] = {
        {"0", true, 0},
        {"10", true, 10},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"-1", false, 0},
        {"-0", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"1e309", false, 0},
        {"\"1\"", false, 0},
        {"null", false, 0},
        {"[1]", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json_value value;
        struct json_error error;
        uint64_t number = 0;
        assert_int_equal(json_check(string_span(rows[i].text), &value, &error), 0);
        assert_int_equal(json_u64(&value, &number), rows[i].whole);
        if (rows[i].whole)
            assert_true(number == rows[i].value);
    }
}

static void test_put_string(void **state)
{
    static const struct {
        struct span text;
        const char *json;
    } rows[] = {
        {SPAN(""), "\"\""},
        {SPAN("plain"), "\"plain\""},
        {SPAN("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {SPAN("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\""},
        {SPAN("é€😀"), "\"é€😀\""},
        {SPAN("a\xff"
              "b"),
         "\"a\xef\xbf\xbd"
         "b\""},
        {SPAN("\xe2\x82"), "\"\xef\xbf\xbd\""},                             /* one ill-formed part, as Python counts */
        {SPAN("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate: three of them */
        {SPAN("\xf0\x9f\x98"
              "A"),
         "\"\xef\xbf\xbd"
         "A\""},
        {SPAN("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {SPAN("\xe2\x82\""), "\"\xef\xbf\xbd\\\"\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_free uint8_t *copy = exact_copy(rows[i].text);
        auto_buffer struct buffer out = {0};
        json_put_string(&out, (struct span){copy, rows[i].text.length});
        assert_buffer(&out, rows[i].json);
    }
    auto_buffer struct buffer out = {0};
    json_put_string(&out, (struct span){0});
    assert_buffer(&out, "\"\"");
}

/* Any bytes become a string that both readers take. */
static void test_put_string_random(void **state)
{
    uint64_t seed = 42;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[24];
        size_t length = random_next(&seed) % sizeof bytes;
        for (size_t i = 0; i < length; i++) {
            uint64_t r = random_next(&seed);
            bytes[i] = (uint8_t)(r & 256 ? r : r | 0x80);
        }
        auto_buffer struct buffer out = {0};
        struct json_error error;
        repeat(&out, "{\"k\":", 1);
        json_put_string(&out, (struct span){bytes, length});
        repeat(&out, "}", 1);
        assert_int_equal(json_canonical(buffer_span(&out), &error), 0);
    }
}

/* Every sequence of up to two bytes, and every three-byte one with a continuation byte at its end. */
static void test_utf8_exhaustive(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        uint8_t text[3] = {(uint8_t)a};
        assert_int_equal(utf8_prefix((struct span){text, 1}) == 1, a < 0x80);
        for (unsigned b = 0; b < 256; b++) {
            text[1] = (uint8_t)b;
            bool two = a >= 0xc2 && a < 0xe0 && (b & 0xc0) == 0x80;
            assert_int_equal(utf8_prefix((struct span){text, 2}) == 2, (a < 0x80 && b < 0x80) || two);
            text[2] = 0x80;
            unsigned code = (a & 15) << 12 | (b & 63) << 6;
            bool three = (a & 0xf0) == 0xe0 && (b & 0xc0) == 0x80 && code >= 0x800 && (code < 0xd800 || code > 0xdfff);
            bool one_two = a < 0x80 && b >= 0xc2 && b < 0xe0;
            assert_int_equal(utf8_prefix((struct span){text, 3}) == 3, three || one_two);
        }
    }
}

static void test_uncut(void **state)
{
    static const struct {
        struct span text;
        size_t length;
    } rows[] = {
        {SPAN(""), 0},
        {SPAN("ab"), 2},
        {SPAN("a\xc3"), 1},
        {SPAN("a\xc3\xa9"), 3},
        {SPAN("a\xe2\x82"), 1},
        {SPAN("a\xe2"), 1},
        {SPAN("a\xe2\x82\xac"), 4},
        {SPAN("\xf0\x9f\x98"), 0},
        {SPAN("\xf0\x9f"), 0},
        {SPAN("\xf0"), 0},
        {SPAN("\xf0\x9f\x98\x80"), 4},
        {SPAN("a\xff"), 2}, /* never the start of a character: stays, and becomes U+FFFD */
        {SPAN("a\x80"), 2},
        {SPAN("a\x80\x80\x80\x80"), 5},
        {SPAN("a\xe0\x80"), 3}, /* overlong */
        {SPAN("a\xed\xa0"), 3}, /* surrogate */
        {SPAN("a\xc3\xa9\xa9"), 4},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(utf8_uncut(rows[i].text).length, rows[i].length);
}

static void test_base64(void **state)
{
    static const struct {
        const char *text, *bytes;
    } rows[] = {{"", ""},
                {"Zg==", "f"},
                {"Zm8=", "fo"},
                {"Zm9v", "foo"},
                {"Zm9vYg==", "foob"},
                {"Zm9vYmE=", "fooba"},
                {"Zm9vYmFy", "foobar"},
                {"+/+/", "\xfb\xff\xbf"}};
    static const char *const bad[] = {"Z",        "Zg",    "Zg=",   "Zh==",   "Zm9=",  "====",
                                      "Zg==Zg==", "Zm=v",  "Z===",  "Zm9v\n", " Zm9v", "Zm9v    ",
                                      "-_-_",     "Zm9v=", "Zm9\"", "=Zm9",   "Zg=g"};
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_buffer struct buffer decoded = {0}, encoded = {0};
        assert_int_equal(base64_decode(string_span(rows[i].text), &decoded), 0);
        assert_buffer(&decoded, rows[i].bytes);
        base64_encode(string_span(rows[i].bytes), &encoded);
        assert_buffer(&encoded, rows[i].text);
    }
    auto_buffer struct buffer nothing = {0};
    base64_encode((struct span){0}, &nothing);
    assert_int_equal(base64_decode((struct span){0}, &nothing), 0);
    assert_int_equal(nothing.length, 0);
    for (size_t i = 0; i < COUNT(bad); i++) {
        auto_buffer struct buffer decoded = {0};
        if (base64_decode(string_span(bad[i]), &decoded) == 0)
            fail_msg("taken: %s", bad[i]);
    }
    for (unsigned n = 0; n < 256 * 256; n++) {
        auto_buffer struct buffer decoded = {0}, encoded = {0};
        uint8_t bytes[3] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n * 7)};
        size_t length = 1 + n % 3;
        base64_encode((struct span){bytes, length}, &encoded);
        assert_int_equal(base64_decode(buffer_span(&encoded), &decoded), 0);
        assert_int_equal(decoded.length, length);
        assert_memory_equal(decoded.bytes, bytes, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_where),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_returns),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_duplicates_exhaustive),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_is),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_put_string),
        cmocka_unit_test(test_put_string_random),
        cmocka_unit_test(test_utf8_exhaustive),
        cmocka_unit_test(test_uncut),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
