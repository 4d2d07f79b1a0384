/* peek.c: which heads pass, which are refused and how, and that the pieces they come in make no difference. */
#include "support.h"

#include "peek.h"

#define HOST "Host: x\r\n"
#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST /execute HTTP/1.1\r\n" HOST

static const char *const good[] = {
    GET HOST "\r\n",
    "\r\n" GET HOST "\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.9\r\n" HOST "\r\n",
    "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
    "CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n",
    "GET http://x/v1/runs?a=b&c HTTP/1.1\r\nhOST:\r\n\r\n",
    POST "Content-Length: 0\r\n\r\n",
    POST "content-length:5\r\nContent-Type: text/x-python\r\n\r\n",
    POST "Content-Length: \t 9223372036854775807\r\nExpect: 100-continue\r\n\r\n",
    POST "Content-Length: 5\r\nX-Content-Length: 6\r\nContent-Lengths: 7\r\nTransfer-Encodings: chunked\r\n\r\n",
    GET HOST "X:\r\nY: \t\r\n!#$%&'*+-.^_`|~09azAZ: \xc3\xa9\xff \"()\t;\r\nCookie: a=b; c=d\r\n\r\n",
    GET HOST "A-name-that-is-longer-than-any-of-those-that-mean-something-to-us: 1\r\n\r\n",
    "PRI /x HTTP/1.1\r\n" HOST "\r\n",
};

static const struct {
    unsigned http;
    const char *head;
} bad[] = {
    {400, " GET / HTTP/1.1\r\n"},
    {400, "\n"},
    {400, "\rG"},
    {400, "\r\n\r\n"},
    {400, "\x16\x03\x01"},
    {400, "\x80\x2e\x01"},
    {400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {400, "GET\r\n"},
    {400, "GET\n"},
    {400, "GE(T / HTTP/1.1\r\n"},
    {400, "GET\t/ HTTP/1.1\r\n"},
    {400, "GET  / HTTP/1.1\r\n"},
    {400, "GET /\r\n"},
    {400, "GET /\n"},
    {400, "GET /\t HTTP/1.1\r\n"},
    {400, "GET /\x7f HTTP/1.1\r\n"},
    {400, "GET /\xc3\xa9 HTTP/1.1\r\n"},
    {400, "GET /  HTTP/1.1\r\n"},
    {400, "GET / HTTP/1.1 \r\n"},
    {400, "GET / HTTP/1.10\r\n"},
    {400, "GET / HTTP/1\r\n"},
    {400, "GET / HTTP/1.\r\n"},
    {400, "GET / http/1.1\r\n"},
    {400, "GET / HTTP/1.1\n"},
    {400, "GET / HTTP/1.1\rX"},
    {400, "GET / x HTTP/1.1\r\n"},
    {505, "GET / HTTP/0.9\r\n"},
    {505, "GET / HTTP/2.0\r\n"},
    {505, "GET / HTTP/9.9\r\n"},
    {400, GET "\r\n"},
    {400, GET HOST HOST},
    {400, GET HOST "host: y\r\n"},
    {400, "GET / HTTP/1.0\r\n" HOST HOST},
    {400, GET HOST "\n"},
    {400, GET HOST "\rX"},
    {400, GET HOST " X: y\r\n"},
    {400, GET HOST "X: y\r\n\tz\r\n"},
    {400, GET HOST "X\r\n"},
    {400, GET HOST "X\n"},
    {400, GET HOST "X : y\r\n"},
    {400, GET HOST "X\t: y\r\n"},
    {400, GET HOST "X Y: z\r\n"},
    {400, GET HOST ": y\r\n"},
    {400, GET HOST "X\x80: y\r\n"},
    {400, GET HOST "X: y\n"},
    {400, GET HOST "X: y\rz"},
    {400, GET HOST "X: y\r\r\n"},
    {400, GET HOST "X: \x01\r\n"},
    {400, GET HOST "X: \x1b[0m\r\n"},
    {400, GET HOST "X: \x7f\r\n"},
    {411, POST "Transfer-Encoding: chunked\r\n"},
    {411, POST "Transfer-Encoding:"},
    {411, POST "TRANSFER-ENCODING: identity\r\n"},
    {411, POST "Content-Length: 5\r\ntransfer-encoding: chunked\r\n"},
    {411, GET "Transfer-Encoding: x\r\n\r\n"},
    {400, POST "Transfer-Encoding : chunked\r\n"},
    {400, POST "Content-Length: 5\r\nContent-Length: 5\r\n"},
    {400, POST "Content-Length: 5\r\ncontent-length: 6\r\n"},
    {400, POST "Content-Length:\r\n"},
    {400, POST "Content-Length: \r\n"},
    {400, POST "Content-Length: 5 \r\n"},
    {400, POST "Content-Length: 5, 5\r\n"},
    {400, POST "Content-Length: +5\r\n"},
    {400, POST "Content-Length: -5\r\n"},
    {400, POST "Content-Length: 0x5\r\n"},
    {400, POST "Content-Length: 5.0\r\n"},
    {400, POST "Content-Length: five\r\n"},
    {400, POST "Content-Length: 5 5\r\n"},
    {400, POST "Content-Length: 5\n"},
    {400, POST "Content-Length: 9223372036854775808\r\n"},
    {400, POST "Content-Length: 18446744073709551621\r\n"},
    {400, POST "Content-Length: 99999999999999999999999999\r\n"},
    {400, "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM"},
};

static enum peek_verdict feed(struct peek *peek, struct span bytes, size_t piece)
{
    enum peek_verdict verdict = PEEK_INCOMPLETE;
    *peek = (struct peek){0};
    for (size_t at = 0; at < bytes.length && verdict == PEEK_INCOMPLETE; at += piece) {
        size_t left = bytes.length - at;
        struct span part = {bytes.bytes + at, left < piece ? left : piece};
        auto_free uint8_t *copy = exact_copy(part);
        verdict = peek_feed(peek, (struct span){copy, part.length});
    }
    return verdict;
}

static void test_good(void **state)
{
    struct peek peek;
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct span head = string_span(good[i]);
        for (size_t cut = 0; cut < head.length; cut++) {
            assert_int_equal(feed(&peek, (struct span){head.bytes, cut}, SIZE_MAX), PEEK_INCOMPLETE);
            assert_int_equal(peek.length, cut);
        }
        for (size_t piece = 1; piece <= head.length; piece++) {
            assert_int_equal(feed(&peek, head, piece), PEEK_FINE);
            assert_int_equal(peek.length, head.length);
        }
    }
}

static void test_what_follows_is_not_looked_at(void **state)
{
    struct peek peek;
    (void)state;
    assert_int_equal(feed(&peek, SPAN(GET HOST "\r\n\0\n\r(nothing that could stand in a head)"), SIZE_MAX), PEEK_FINE);
    assert_int_equal(peek.length, strlen(GET HOST "\r\n"));
}

static void test_bad(void **state)
{
    struct peek peek;
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct span head = string_span(bad[i].head);
        uint32_t length = 0;
        for (size_t piece = head.length; piece > 0; piece--) {
            assert_int_equal(feed(&peek, head, piece), PEEK_REFUSE);
            assert_int_equal(peek.http, bad[i].http);
            assert_non_null(peek.text);
            assert_null(strchr(peek.text, '\n'));
            assert_true(length == 0 || peek.length == length); /* the same byte is the one too many */
            length = peek.length;
        }
    }
}

/* Every byte, at every place of a head. Where it is refused it is with a 4xx or 5xx, and NUL and LF nowhere pass. */
static void test_every_byte_everywhere(void **state)
{
    static const char head[] = POST "Content-Length: 5\r\nX: y\r\n\r\n";
    struct peek peek;
    (void)state;
    for (size_t at = 0; at < sizeof head - 1; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t changed[sizeof head];
            memcpy(changed, head, sizeof head);
            changed[at] = (uint8_t)byte;
            enum peek_verdict verdict = feed(&peek, (struct span){changed, sizeof head - 1}, SIZE_MAX);
            if (byte == (uint8_t)head[at])
                assert_int_equal(verdict, PEEK_FINE);
            else if (byte == 0 || byte == '\n' || head[at] == '\n')
                assert_int_equal(verdict, PEEK_REFUSE);
            if (verdict == PEEK_REFUSE)
                assert_true(peek.http >= 400 && peek.http <= 505);
        }
    }
}

static void test_faces(void **state)
{
    static const struct {
        const char *line;
        bool problem, head_only;
    } rows[] = {
        {"GET /v1/runs HTTP/1.0\r\n\r\n", true, false},
        {"HEAD /v1/ HTTP/1.0\r\n\r\n", true, true},
        {"GET http://a/v1/x HTTP/1.0\r\n\r\n", true, false},
        {"GET HTTP://[::1]:80/v1/x HTTP/1.0\r\n\r\n", true, false},
        {"GET https://a/v1/x HTTP/1.0\r\n\r\n", true, false},
        {"GET HTTPS://a HTTP/1.0\r\n\r\n", false, false},
        {"GET http://a?/v1/x HTTP/1.0\r\n\r\n", false, false},
        {"GET httpss://a/v1/x HTTP/1.0\r\n\r\n", false, false},
        {"GET https:/v1/x HTTP/1.0\r\n\r\n", false, false},
        {"GET /v1 HTTP/1.0\r\n\r\n", false, false},
        {"GET /v2/runs HTTP/1.0\r\n\r\n", false, false},
        {"GET //v1/runs HTTP/1.0\r\n\r\n", false, false},
        {"GET /x/v1/ HTTP/1.0\r\n\r\n", false, false},
        {"GET /?/v1/ HTTP/1.0\r\n\r\n", false, false},
        {"GET http://v1/x HTTP/1.0\r\n\r\n", false, false},
        {"GET http://a/x/v1/ HTTP/1.0\r\n\r\n", false, false},
        {"GET http:/v1/x HTTP/1.0\r\n\r\n", false, false},
        {"GET xhttp://a/v1/x HTTP/1.0\r\n\r\n", false, false},
        {"head / HTTP/1.0\r\n\r\n", false, false},
        {"HEADS / HTTP/1.0\r\n\r\n", false, false},
    };
    struct peek peek;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(feed(&peek, string_span(rows[i].line), 1), PEEK_FINE);
        assert_int_equal(peek.problem, rows[i].problem);
        assert_int_equal(peek.head_only, rows[i].head_only);
    }
}

/* before, times × part, after */
static void check_size(const char *before, const char *part, size_t times, const char *after, unsigned http)
{
    auto_buffer struct buffer head = {0};
    struct peek peek;
    repeat(&head, before, 1);
    repeat(&head, part, times);
    repeat(&head, after, 1);
    enum peek_verdict verdict = feed(&peek, buffer_span(&head), 1000);
    assert_int_equal(verdict, http ? PEEK_REFUSE : PEEK_FINE);
    assert_int_equal(peek.http, http);
}

static void test_sizes(void **state)
{
    static const char end[] = " HTTP/1.0\r\n\r\n", line[] = "GET / HTTP/1.0\r\nX: ";
    size_t room = HEAD_BYTES - strlen(line) - 4;
    (void)state;
    check_size("", "M", METHOD_BYTES, " / HTTP/1.0\r\n\r\n", 0);
    check_size("", "M", METHOD_BYTES + 1, " / HTTP/1.0\r\n\r\n", 400);
    check_size("GET /", "x", URI_BYTES - 1, end, 0);
    check_size("GET /", "x", URI_BYTES, end, 414);
    check_size("GET /?", "x", QUERY_BYTES - 1, end, 0);
    check_size("GET /?", "x", QUERY_BYTES, end, 414);
    check_size("GET /?", "&", QUERY_BYTES - 1, end, 0);
    check_size(line, "x", room, "\r\n\r\n", 0);
    check_size(line, "x", room + 1, "\r\n\r\n", 431);
    check_size(line, "x", 1 << 20, "", 431);
    check_size("GET / HTTP/1.0\r\n", "a:\r\n", 300, "\r\n", 0);
    check_size("GET / HTTP/1.0\r\n", "a:\r\n", 400, "\r\n", 431);
    check_size("GET / HTTP/1.0\r\nCookie: a", "; b", 300, "\r\n\r\n", 0);
    check_size("GET / HTTP/1.0\r\nCookie: a", "; b", 400, "\r\n\r\n", 431);
    check_size("GET / HTTP/1.0\r\nCookies: a", "; b", 4000, "\r\n\r\n", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),  cmocka_unit_test(test_what_follows_is_not_looked_at),
        cmocka_unit_test(test_bad),   cmocka_unit_test(test_every_byte_everywhere),
        cmocka_unit_test(test_faces), cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
