/* The store of runs that can be asked for, as runs.h has it. */
#include "support.h"

#include "runs.h"

static void scope_runs(struct runs *runs)
{
    runs_close(runs);
}
#define auto_runs __attribute__((cleanup(scope_runs)))

static void open_store(struct runs *runs, uint64_t keep_ms, uint64_t keep_bytes)
{
    assert_int_equal(runs_open(runs), 0);
    runs->keep_ms = keep_ms;
    runs->keep_bytes = keep_bytes;
}

static struct kept *add(struct runs *runs, uint64_t owner)
{
    char name[RUN_NAME_BYTES + 1];
    assert_int_equal(runs_name(runs, owner, name), 0);
    struct kept *run = runs_add(runs, name, owner, "default");
    assert_non_null(run);
    return run;
}

static void end(struct runs *runs, struct kept *run, size_t bytes, uint64_t now_ms)
{
    struct buffer record = {0};
    repeat(&record, "x", bytes);
    events_end(&run->events, &record, 0, 0, (bool[]){false, false});
    runs_over(runs, run, now_ms);
}

static enum runs_answer ask(const struct runs *runs, const char *name, uint64_t owner)
{
    struct kept *run;
    return runs_find(runs, name, owner, &run);
}

static void a_run_is_found_by_its_owner_alone(void **state)
{
    auto_runs struct runs runs = {0};
    struct kept *found = NULL;
    (void)state;
    open_store(&runs, 1000, 1 << 20);
    struct kept *run = add(&runs, 7);
    assert_int_equal(runs_find(&runs, run->name, 7, &found), RUNS_FOUND);
    assert_ptr_equal(found, run);
    assert_int_equal(ask(&runs, run->name, 0), RUNS_UNKNOWN);
    assert_int_equal(ask(&runs, run->name, 8), RUNS_UNKNOWN);
}

static void what_was_ours_is_gone_and_all_else_unknown(void **state)
{
    auto_runs struct runs runs = {0}, others = {0};
    char name[RUN_NAME_BYTES + 1], wrong[RUN_NAME_BYTES + 2];
    (void)state;
    open_store(&runs, 1000, 1 << 20);
    open_store(&others, 1000, 1 << 20);
    assert_int_equal(runs_name(&runs, 3, name), 0);
    assert_int_equal(strlen(name), RUN_NAME_BYTES);
    assert_int_equal(ask(&runs, name, 3), RUNS_GONE);
    assert_int_equal(ask(&runs, name, 4), RUNS_UNKNOWN);
    assert_int_equal(ask(&others, name, 3), RUNS_UNKNOWN);
    for (size_t i = 0; i < RUN_NAME_BYTES; i++) {
        memcpy(wrong, name, sizeof name);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        assert_int_equal(ask(&runs, wrong, 3), RUNS_UNKNOWN);
        wrong[i] = i > 3 && name[i] >= 'a' ? (char)(name[i] - 'a' + 'A') : '-';
        assert_int_equal(ask(&runs, wrong, 3), RUNS_UNKNOWN);
        memcpy(wrong, name, i);
        wrong[i] = 0;
        assert_int_equal(ask(&runs, wrong, 3), RUNS_UNKNOWN);
    }
    snprintf(wrong, sizeof wrong, "%s0", name);
    assert_int_equal(ask(&runs, wrong, 3), RUNS_UNKNOWN);
    assert_int_equal(ask(&runs, "", 3), RUNS_UNKNOWN);
}

static void names_differ(void **state)
{
    auto_runs struct runs runs = {0};
    char names[200][RUN_NAME_BYTES + 1];
    (void)state;
    open_store(&runs, 1000, 1 << 20);
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(runs_name(&runs, 0, names[i]), 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
    }
}

static void many_are_found(void **state)
{
    auto_runs struct runs runs = {0};
    static struct kept *kept[1000];
    struct kept *found;
    (void)state;
    open_store(&runs, 1000, 1 << 30);
    for (size_t i = 0; i < COUNT(kept); i++)
        kept[i] = add(&runs, i % 3);
    for (size_t i = 0; i < COUNT(kept); i += 2) {
        char name[RUN_NAME_BYTES + 1];
        memcpy(name, kept[i]->name, sizeof name);
        runs_forget(&runs, kept[i]);
        assert_int_equal(ask(&runs, name, i % 3), RUNS_GONE);
    }
    for (size_t i = 1; i < COUNT(kept); i += 2) {
        assert_int_equal(runs_find(&runs, kept[i]->name, i % 3, &found), RUNS_FOUND);
        assert_ptr_equal(found, kept[i]);
    }
    assert_int_equal(runs.count, COUNT(kept) / 2);
}

static void time_takes_those_that_are_over(void **state)
{
    auto_runs struct runs runs = {0};
    char first[RUN_NAME_BYTES + 1];
    (void)state;
    open_store(&runs, 1000, 1 << 20);
    struct kept *one = add(&runs, 0), *two = add(&runs, 0), *on = add(&runs, 0);
    memcpy(first, one->name, sizeof first);
    assert_int_equal(runs_deadline(&runs, 50), -1);
    end(&runs, one, 10, 100);
    end(&runs, two, 10, 600);
    assert_int_equal(runs_deadline(&runs, 700), 400);
    assert_int_equal(ask(&runs, first, 0), RUNS_FOUND);
    assert_int_equal(runs_deadline(&runs, 1100), 500);
    assert_int_equal(ask(&runs, first, 0), RUNS_GONE);
    assert_int_equal(ask(&runs, two->name, 0), RUNS_FOUND);
    assert_int_equal(runs_deadline(&runs, 10000), -1);
    assert_int_equal(ask(&runs, on->name, 0), RUNS_FOUND);
    assert_int_equal(runs.bytes, 0);
}

/* The oldest go first; the one that has just ended stays, however large; those that are not over do not count. */
static void size_takes_the_oldest(void **state)
{
    auto_runs struct runs runs = {0};
    char names[4][RUN_NAME_BYTES + 1];
    struct kept *kept[4];
    (void)state;
    open_store(&runs, 1000, 100000);
    struct kept *on = add(&runs, 0);
    for (size_t i = 0; i < 4; i++) {
        kept[i] = add(&runs, 0);
        memcpy(names[i], kept[i]->name, sizeof names[i]);
    }
    for (size_t i = 0; i < 3; i++)
        end(&runs, kept[i], 30000, 0);
    assert_true(runs.bytes > 90000 && runs.bytes <= 200000);
    end(&runs, kept[3], 300000, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ask(&runs, names[i], 0), RUNS_GONE);
    assert_int_equal(ask(&runs, names[3], 0), RUNS_FOUND);
    assert_int_equal(ask(&runs, on->name, 0), RUNS_FOUND);
    end(&runs, on, 10, 0);
    assert_int_equal(ask(&runs, names[3], 0), RUNS_GONE);
    assert_ptr_equal(runs.oldest, on);
    assert_ptr_equal(runs.newest, on);
}

/* ---- watchers ---- */

struct witness {
    struct watcher watcher;
    unsigned told, lost;
};

static void witness_told(struct watcher *watcher)
{
    struct witness *witness = (struct witness *)watcher;
    witness->told++;
    witness->lost += !watcher->run;
}

static void watchers_hear_of_it(void **state)
{
    auto_runs struct runs runs = {0};
    struct witness all[3] = {
        {.watcher.told = witness_told}, {.watcher.told = witness_told}, {.watcher.told = witness_told}};
    (void)state;
    open_store(&runs, 1000, 1 << 20);
    struct kept *run = add(&runs, 0);
    for (size_t i = 0; i < COUNT(all); i++)
        watcher_join(&all[i].watcher, run);
    runs_told(run);
    watcher_leave(&all[1].watcher);
    watcher_leave(&all[1].watcher);
    assert_null(all[1].watcher.run);
    end(&runs, run, 10, 0);
    runs_deadline(&runs, 1000);
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_int_equal(all[i].told, i == 1 ? 1 : 3);
        assert_int_equal(all[i].lost, i != 1);
        assert_null(all[i].watcher.run);
    }
}

static void leaver_told(struct watcher *watcher)
{
    witness_told(watcher);
    watcher_leave(watcher);
}

static void a_watcher_may_leave_when_it_is_told(void **state)
{
    auto_runs struct runs runs = {0};
    struct witness all[3] = {
        {.watcher.told = leaver_told}, {.watcher.told = witness_told}, {.watcher.told = leaver_told}};
    (void)state;
    open_store(&runs, 1000, 1 << 20);
    struct kept *run = add(&runs, 0);
    for (size_t i = 0; i < COUNT(all); i++)
        watcher_join(&all[i].watcher, run);
    runs_told(run);
    runs_told(run);
    assert_int_equal(all[0].told + all[1].told + all[2].told, 1 + 2 + 1);
    runs_forget(&runs, run);
    assert_int_equal(all[1].lost, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_found_by_its_owner_alone),
        cmocka_unit_test(what_was_ours_is_gone_and_all_else_unknown),
        cmocka_unit_test(names_differ),
        cmocka_unit_test(many_are_found),
        cmocka_unit_test(time_takes_those_that_are_over),
        cmocka_unit_test(size_takes_the_oldest),
        cmocka_unit_test(watchers_hear_of_it),
        cmocka_unit_test(a_watcher_may_leave_when_it_is_told),
    };
    return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
