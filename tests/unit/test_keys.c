/* Keys and who has them, other sites' origins: what no server is needed for. */
#include "key.h"
#include "origins.h"
#include "owners.h"
#include "support.h"

static void test_a_drawn_key_is_one(void **state)
{
    char one[KEY_TEXT_BYTES + 1], other[KEY_TEXT_BYTES + 1], header[80];
    size_t length;
    (void)state;
    assert_int_equal(key_draw(one), 0);
    assert_int_equal(key_draw(other), 0);
    assert_string_not_equal(one, other);
    assert_int_equal(strlen(one), KEY_TEXT_BYTES);
    snprintf(header, sizeof header, "Bearer %s", one);
    const char *offered = key_offered(header, &length);
    assert_non_null(offered);
    assert_string_equal(offered, one);
    assert_int_equal(length, KEY_TEXT_BYTES);
}

static void test_offered(void **state)
{
    static const struct {
        const char *header, *text;
    } rows[] = {
        {"Bearer a", "a"},
        {"bearer   ss_A-b.c~d+e/f=", "ss_A-b.c~d+e/f="},
        {"BEARER x", "x"},
        {NULL, NULL},
        {"", NULL},
        {"Bearer", NULL},
        {"Bearer ", NULL},
        {"Bearerx", NULL},
        {"Bearer\tx", NULL},
        {"Bearer x ", NULL},
        {"Bearer x y", NULL},
        {"Bearer x,y", NULL},
        {"Bearer \xc3\xa9", NULL},
        {"Basic x", NULL},
    };
    char header[KEY_OFFERED_MOST + 16];
    size_t length;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *text = key_offered(rows[i].header, &length);
        assert_int_equal(text != NULL, rows[i].text != NULL);
        if (text)
            assert_string_equal(text, rows[i].text);
        if (text)
            assert_int_equal(length, strlen(rows[i].text));
    }
    memset(header, 'x', sizeof header);
    memcpy(header, "Bearer ", 7);
    header[7 + KEY_OFFERED_MOST] = 0;
    assert_non_null(key_offered(header, &length));
    header[7 + KEY_OFFERED_MOST] = 'x';
    header[8 + KEY_OFFERED_MOST] = 0;
    assert_null(key_offered(header, &length));
}

static void test_find(void **state)
{
    static struct key keys[300];
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++)
        digest_sha256((struct span){(const uint8_t *)&i, sizeof i}, keys[i].hash);
    for (size_t i = 0; i < COUNT(keys); i++) {
        uint8_t hash[DIGEST_BYTES];
        digest_sha256((struct span){(const uint8_t *)&i, sizeof i}, hash);
        assert_ptr_equal(key_find(keys, COUNT(keys), hash), &keys[i]);
        assert_int_equal(key_find(keys, i, hash) != NULL, false);
        hash[i % DIGEST_BYTES] ^= 1;
        assert_null(key_find(keys, COUNT(keys), hash));
    }
    assert_null(key_find(NULL, 0, keys[0].hash));
}

/* ---- owners ---- */

static struct owner rows[OWNER_ROWS];
static struct run_queue queue;

static void set(size_t count, const char *const ids[], uint32_t numbers[])
{
    static struct key keys[4];
    struct key_list list = {.keys = keys, .count = count};
    for (size_t i = 0; i < count; i++) {
        keys[i] = (struct key){.concurrency = 3, .rate = 2, .burst = 4, .period_us = 1000000};
        snprintf(keys[i].id, sizeof keys[i].id, "%s", ids[i]);
    }
    assert_int_equal(owners_set(rows, &queue, &list), 0);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = keys[i].owner;
        assert_non_null(owner_find(rows, numbers[i]));
        assert_string_equal(owner_find(rows, numbers[i])->key.id, ids[i]);
    }
}

static void test_owners_without_keys(void **state)
{
    (void)state;
    assert_int_equal(owners_set(rows, &queue, NULL), 0);
    for (uint32_t i = 0; i < OWNERS; i++) {
        assert_ptr_equal(owner_find(rows, i), &rows[i]);
        assert_int_equal(owner_wait_us(&rows[i], 1), 0);
    }
    assert_null(owner_find(rows, OWNERS));
    assert_null(owner_find(rows, UINT32_MAX));
}

static void test_a_number_is_never_another_key_s(void **state)
{
    uint32_t first[2], second[2], third[2];
    (void)state;
    set(2, (const char *const[]){"a", "b"}, first);
    assert_null(owner_find(rows, 0));
    set(2, (const char *const[]){"b", "c"}, second);
    assert_int_equal(second[0], first[1]);
    assert_null(owner_find(rows, first[0]));
    for (int i = 0; i < 100; i++) {
        set(1, (const char *const[]){"b"}, third);
        set(2, (const char *const[]){"a", "b"}, third);
        assert_int_equal(third[1], first[1]);
        assert_int_not_equal(third[0], first[0]);
        assert_int_not_equal(third[0], second[1]);
        assert_null(owner_find(rows, first[0]));
    }
}

static void test_a_row_with_runs_is_nobody_else_s(void **state)
{
    uint32_t first[1], second[1];
    struct queue_entry entry = {.lane = LANE_USUAL}, *ousted;
    (void)state;
    set(1, (const char *const[]){"busy"}, first);
    struct owner *busy = owner_find(rows, first[0]);
    assert_true(queue_add(&queue, &busy->queue, &entry, &ousted));
    set(1, (const char *const[]){"new"}, second);
    assert_ptr_not_equal(owner_find(rows, second[0]), busy);
    assert_ptr_equal(queue_next(&queue, LANE_USUAL), &entry);
    queue_leave(&queue, &entry);
    assert_null(owner_find(rows, first[0]));
}

static void test_a_changed_concurrency_is_heeded_at_once(void **state)
{
    struct key key = {.id = "k", .concurrency = 1};
    struct key_list list = {.keys = &key, .count = 1};
    struct queue_entry entries[2] = {{0}, {0}}, *ousted;
    (void)state;
    assert_int_equal(owners_set(rows, &queue, &list), 0);
    struct owner *owner = owner_find(rows, key.owner);
    for (int i = 0; i < 2; i++)
        assert_true(queue_add(&queue, &owner->queue, &entries[i], &ousted));
    queue_take(&queue, queue_next(&queue, LANE_USUAL));
    assert_null(queue_next(&queue, LANE_USUAL));
    key.concurrency = 2;
    assert_int_equal(owners_set(rows, &queue, &list), 0);
    assert_ptr_equal(queue_next(&queue, LANE_USUAL), &entries[1]);
    for (int i = 0; i < 2; i++)
        queue_leave(&queue, &entries[i]);
}

/* Two in a second, four at once: whatever the moments, never more than 4 + 2 t in t seconds, and no less when asked for
 * without a pause. */
static void test_rate(void **state)
{
    uint32_t number[1];
    uint64_t now = 5000000, start = now;
    unsigned granted = 0;
    (void)state;
    set(1, (const char *const[]){"rated"}, number);
    struct owner *owner = owner_find(rows, number[0]);
    for (; now < start + 10000000; now += 1000) {
        uint64_t wait = owner_wait_us(owner, now);
        if (wait) {
            assert_true(wait <= 500001);
            assert_int_equal(owner_wait_us(owner, now + wait), 0);
            assert_true(wait < 2 || owner_wait_us(owner, now + wait - 2) > 0);
            continue;
        }
        owner_spend(owner, now);
        granted++;
        assert_true(granted <= 4 + 2 * (now - start) / 1000000);
    }
    assert_true(granted >= 23 && granted <= 24);
    now += 3600000000;
    for (granted = 0; owner_wait_us(owner, now) == 0; granted++)
        owner_spend(owner, now);
    assert_int_equal(granted, 4);
}

/* ---- origins ---- */

static void test_origins(void **state)
{
    static const char list[] = " https://a.example  http://localhost:3000 https://[::1]:8 ";
    char text[300];
    (void)state;
    assert_null(origins_fault(list, text, sizeof text));
    assert_null(origins_fault("*", text, sizeof text));
    static const char *const wrong[] = {"a.example",          "https://", "https://a/", "* *",
                                        "https://a,http://b", "ws://a",   "https://A"};
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_non_null(origins_fault(wrong[i], text, sizeof text));
    static const char *const listed[] = {"https://a.example", "http://localhost:3000", "https://[::1]:8"};
    for (size_t i = 0; i < COUNT(listed); i++)
        assert_string_equal(origins_allow(list, listed[i]), listed[i]);
    static const char *const others[] = {
        "", "null", "https://a.exampl", "https://a.example2", "http://a.example", "http://localhost", "*"};
    for (size_t i = 0; i < COUNT(others); i++)
        assert_null(origins_allow(list, others[i]));
    assert_null(origins_allow(list, NULL));
    assert_null(origins_allow("", "https://a.example"));
    assert_string_equal(origins_allow("*", "https://a.example"), "*");
}

static void test_units(void **state)
{
    static const struct {
        enum unit unit;
        const char *text;
        uint64_t value;
    } fine[] = {{UNIT_COUNT, "7", 7},
                {UNIT_MILLISECONDS, "5s", 5000},
                {UNIT_MILLISECONDS, "5 s", 5000},
                {UNIT_MILLISECONDS, "2min", 120000},
                {UNIT_BYTES, "1KiB", 1024},
                {UNIT_BYTES, "18446744073709551615", UINT64_MAX}};
    static const struct {
        enum unit unit;
        const char *text;
    } wrong[] = {{UNIT_COUNT, ""},
                 {UNIT_COUNT, "-1"},
                 {UNIT_COUNT, "1s"},
                 {UNIT_BYTES, "1 kb"},
                 {UNIT_BYTES, "18446744073709551616"},
                 {UNIT_BYTES, "18446744073709551615K"},
                 {UNIT_MILLISECONDS, "1.5s"},
                 {UNIT_COUNT, " 1"}};
    uint64_t value;
    (void)state;
    for (size_t i = 0; i < COUNT(fine); i++) {
        assert_int_equal(unit_parse(fine[i].unit, fine[i].text, &value), 0);
        assert_true(value == fine[i].value);
    }
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(unit_parse(wrong[i].unit, wrong[i].text, &value), -1);
}

static int open_queue(void **state)
{
    (void)state;
    return queue_open(&queue, 100, 100);
}

static int close_queue(void **state)
{
    (void)state;
    queue_close(&queue);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_drawn_key_is_one),
        cmocka_unit_test(test_offered),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_owners_without_keys),
        cmocka_unit_test(test_a_number_is_never_another_key_s),
        cmocka_unit_test(test_a_row_with_runs_is_nobody_else_s),
        cmocka_unit_test(test_a_changed_concurrency_is_heeded_at_once),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_units),
    };
    return cmocka_run_group_tests(tests, open_queue, close_queue);
}
