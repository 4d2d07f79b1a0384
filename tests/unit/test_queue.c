/* The fair queue against a plain model of its promise: all short sequences of operations, long random ones, and the
 * promise's own words as examples. */
#include "queue.h"
#include "support.h"

enum { OWNERS = 60, ENTRIES = 1000 };

/* Those that are tried: the model looks through everything for each. */
static const enum lane lanes[] = {LANE_USUAL, LANE_USUAL + 1, LANE_ODD};

/* The model keeps every entry in one array and looks through all of it for each answer. */
struct item {
    struct queue_entry entry; /* first */
    unsigned owner;
    int64_t order; /* within its owner; put back: before all others */
    bool promised;
};

struct model {
    struct run_queue queue;
    struct queue_owner owners[OWNERS];
    unsigned owner_count;
    struct item items[ENTRIES];
    unsigned item_count;
    uint64_t clock;
    struct {
        bool listed;
        uint32_t at;
        uint64_t since;
    } turns[OWNERS][LANE_COUNT];
    int64_t front; /* what is put back goes before this */
};

static unsigned waiting(const struct model *model, unsigned owner, int lane)
{
    unsigned count = 0;
    for (unsigned i = 0; i < model->item_count; i++) {
        const struct item *item = &model->items[i];
        count +=
            item->owner == owner && item->entry.state == ENTRY_WAITING && (lane < 0 || (int)item->entry.lane == lane);
    }
    return count;
}

static unsigned promised(const struct model *model, unsigned owner)
{
    unsigned count = 0;
    for (unsigned i = 0; i < model->item_count; i++) {
        const struct item *item = &model->items[i];
        count += item->owner == owner && item->entry.state == ENTRY_WAITING && item->promised;
    }
    return count;
}

static unsigned running(const struct model *model, unsigned owner)
{
    unsigned count = 0;
    for (unsigned i = 0; i < model->item_count; i++)
        count += model->items[i].owner == owner && model->items[i].entry.state == ENTRY_RUNNING;
    return count;
}

static struct item *first_of(struct model *model, unsigned owner, int lane)
{
    struct item *found = NULL;
    for (unsigned i = 0; i < model->item_count; i++) {
        struct item *item = &model->items[i];
        if (item->owner == owner && item->entry.state == ENTRY_WAITING && (int)item->entry.lane == lane &&
            (!found || item->order < found->order))
            found = item;
    }
    return found;
}

/* After each operation: notes since when each owner has held as many places as it holds now, with something waiting. */
static void settle(struct model *model)
{
    for (unsigned owner = 0; owner < model->owner_count; owner++) {
        unsigned held = running(model, owner);
        for (size_t i = 0; i < COUNT(lanes); i++) {
            int lane = (int)lanes[i];
            bool listed = waiting(model, owner, lane) && held < model->owners[owner].most;
            if (listed && (!model->turns[owner][lane].listed || model->turns[owner][lane].at != held))
                model->turns[owner][lane].since = ++model->clock;
            model->turns[owner][lane].listed = listed;
            model->turns[owner][lane].at = held;
        }
    }
}

static struct item *expected_next(struct model *model, int lane)
{
    int best = -1;
    for (unsigned owner = 0; owner < model->owner_count; owner++) {
        if (!model->turns[owner][lane].listed)
            continue;
        if (best < 0 || model->turns[owner][lane].at < model->turns[best][lane].at ||
            (model->turns[owner][lane].at == model->turns[best][lane].at &&
             model->turns[owner][lane].since < model->turns[best][lane].since))
            best = (int)owner;
    }
    return best < 0 ? NULL : first_of(model, (unsigned)best, lane);
}

static struct item *expected_earliest(struct model *model)
{
    struct item *found = NULL;
    for (unsigned i = 0; i < model->item_count; i++) {
        struct item *item = &model->items[i];
        if (item->entry.state == ENTRY_WAITING && !item->promised &&
            (!found || item->entry.deadline_us < found->entry.deadline_us))
            found = item;
    }
    return found;
}

static void check(struct model *model)
{
    unsigned length = 0;
    settle(model);
    for (unsigned owner = 0; owner < model->owner_count; owner++) {
        unsigned mine = waiting(model, owner, -1);
        assert_int_equal(model->owners[owner].waiting, mine);
        assert_int_equal(model->owners[owner].promised, promised(model, owner));
        assert_int_equal(model->owners[owner].running, running(model, owner));
        length += mine;
    }
    assert_int_equal(model->queue.length, length);
    for (size_t i = 0; i < COUNT(lanes); i++)
        assert_ptr_equal(queue_next(&model->queue, lanes[i]), expected_next(model, (int)lanes[i]));
    assert_ptr_equal(queue_earliest(&model->queue), expected_earliest(model));
    struct queue_entry *any = queue_any(&model->queue);
    assert_true(any ? any->state == ENTRY_WAITING : length == 0);
}

static void start(struct model *model, unsigned owners, uint32_t most, const uint32_t *places)
{
    *model = (struct model){.owner_count = owners};
    assert_int_equal(queue_open(&model->queue, most, 500), 0);
    for (unsigned i = 0; i < owners; i++)
        model->owners[i].most = places ? places[i] : UINT32_MAX;
}

/* Whether somebody must make room in a full queue: who has more that may lose their place than owner has in all. */
static bool expect_room(const struct model *model, unsigned owner)
{
    bool room = false;
    for (unsigned i = 0; i < model->owner_count; i++)
        room |= waiting(model, i, -1) - promised(model, i) > waiting(model, owner, -1) + 1;
    return room;
}

static void check_ousted(const struct model *model, const struct item *loser, unsigned owner)
{
    assert_int_equal(loser->entry.state, ENTRY_OUT);
    assert_false(loser->promised);
    assert_int_not_equal(loser->owner, owner);
    unsigned left = waiting(model, loser->owner, -1) - promised(model, loser->owner);
    for (unsigned i = 0; i < model->owner_count; i++)
        assert_true(i == owner || waiting(model, i, -1) - promised(model, i) <= left + 1);
    for (unsigned i = 0; i < model->item_count; i++) {
        const struct item *item = &model->items[i];
        assert_false(item->owner == loser->owner && item->entry.state == ENTRY_WAITING && !item->promised &&
                     item > loser);
    }
}

static void add(struct model *model, unsigned owner, int lane, bool promise)
{
    struct item *item = &model->items[model->item_count];
    struct queue_entry *ousted;
    unsigned promises = 0;
    bool full = model->queue.length >= model->queue.most, room = !full || expect_room(model, owner);
    assert_true(model->item_count < ENTRIES);
    *item = (struct item){.owner = owner, .order = model->item_count, .promised = promise};
    item->entry.lane = (enum lane)lane;
    item->entry.promised = promise;
    item->entry.deadline_us = 1000 + model->item_count;
    for (unsigned i = 0; i < model->owner_count; i++)
        promises += promised(model, i);
    if (promise && promised(model, owner) + promises >= model->queue.most)
        room = false;
    bool added = queue_add(&model->queue, &model->owners[owner], &item->entry, &ousted);
    assert_int_equal(added, room);
    assert_int_equal(ousted != NULL, full && added);
    if (ousted)
        check_ousted(model, (struct item *)ousted, owner);
    model->item_count += added;
}

static struct item *some(struct model *model, unsigned owner, int state)
{
    for (unsigned i = 0; i < model->item_count; i++) {
        if (model->items[i].owner == owner && (int)model->items[i].entry.state == state)
            return &model->items[i];
    }
    return NULL;
}

enum operation { ADD, ADD_ODD, PROMISE, END, BACK, CANCEL, TAKE, OPERATIONS };

static void operate(struct model *model, enum operation operation, unsigned owner)
{
    struct item *item;
    switch (operation) {
    case ADD:
    case ADD_ODD:
    case PROMISE:
        add(model, owner, (int)(operation == ADD_ODD ? lanes[1 + owner % 2] : LANE_USUAL), operation == PROMISE);
        break;
    case END:
        if ((item = some(model, owner, ENTRY_RUNNING)))
            queue_leave(&model->queue, &item->entry);
        break;
    case BACK:
        if ((item = some(model, owner, ENTRY_RUNNING))) {
            queue_put_back(&model->queue, &item->entry);
            item->order = --model->front;
            item->promised = true;
        }
        break;
    case CANCEL:
        if ((item = some(model, owner, ENTRY_WAITING)))
            queue_leave(&model->queue, &item->entry);
        break;
    case TAKE:
    case OPERATIONS:
        if ((item = (struct item *)queue_next(&model->queue, lanes[owner % COUNT(lanes)])))
            queue_take(&model->queue, &item->entry);
        break;
    }
    check(model);
}

/* Every sequence of DEPTH operations of two owners, of whom one may hold one place, on a queue of two. */
static void test_all_short_sequences(void **state)
{
    enum { DEPTH = 5, CHOICES = OPERATIONS * 2 };
    static const uint32_t places[] = {1, UINT32_MAX};
    static struct model model;
    unsigned sequences = 1;
    (void)state;
    for (int i = 0; i < DEPTH; i++)
        sequences *= CHOICES;
    for (unsigned sequence = 0; sequence < sequences; sequence++) {
        unsigned rest = sequence;
        start(&model, 2, 2, places);
        for (int i = 0; i < DEPTH; i++, rest /= CHOICES)
            operate(&model, (enum operation)(rest % CHOICES / 2), rest % 2);
        queue_close(&model.queue);
    }
}

static unsigned draw(uint64_t *seed)
{
    return (unsigned)(random_next(seed) >> 33);
}

static void test_random_sequences(void **state)
{
    static struct model model;
    static uint32_t places[OWNERS];
    (void)state;
    for (uint64_t round = 1; round <= 20; round++) {
        uint64_t seed = round;
        for (unsigned i = 0; i < OWNERS; i++)
            places[i] = draw(&seed) % 3 ? UINT32_MAX : draw(&seed) % 5;
        start(&model, 1 + draw(&seed) % OWNERS, 1 + draw(&seed) % 200, places);
        for (int i = 0; i < 1500 && model.item_count < ENTRIES - 1; i++) {
            /* Few owners ask for much: ranks of more than one word of bits. */
            unsigned owner = draw(&seed) % (draw(&seed) % 2 ? 1 : model.owner_count);
            operate(&model, (enum operation)(draw(&seed) % OPERATIONS), owner);
        }
        queue_close(&model.queue);
    }
}

static void test_a_newcomer_is_next_however_many_wait(void **state)
{
    static struct model model;
    (void)state;
    start(&model, 2, 500, NULL);
    for (int i = 0; i < 300; i++)
        operate(&model, ADD, 0);
    for (int i = 0; i < 10; i++)
        operate(&model, TAKE, LANE_USUAL);
    operate(&model, ADD, 1);
    assert_ptr_equal(queue_next(&model.queue, LANE_USUAL)->owner, &model.owners[1]);
    queue_close(&model.queue);
}

/* One with runs of any length gets no more than its share of places: each place that comes free goes to the other until
 * both hold as many. */
static void test_places_come_to_be_shared_equally(void **state)
{
    static struct model model;
    (void)state;
    start(&model, 3, 500, NULL);
    for (int i = 0; i < 100; i++)
        operate(&model, ADD, 0);
    for (int i = 0; i < 12; i++)
        operate(&model, TAKE, LANE_USUAL);
    for (int i = 0; i < 20; i++) {
        operate(&model, ADD, 1);
        operate(&model, ADD, 2);
    }
    for (int i = 0; i < 12; i++) {
        unsigned greedy = model.owners[0].running > 4 ? 0 : model.owners[1].running > 4 ? 1 : 2;
        operate(&model, END, greedy);
        operate(&model, TAKE, LANE_USUAL);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(model.owners[i].running, 4);
    queue_close(&model.queue);
}

static void test_a_full_queue_has_room_for_who_has_less_in_it(void **state)
{
    static struct model model;
    (void)state;
    start(&model, 3, 10, NULL);
    for (int i = 0; i < 12; i++)
        operate(&model, ADD, 0);
    for (int i = 0; i < 12; i++)
        operate(&model, ADD, 1);
    for (int i = 0; i < 12; i++)
        operate(&model, ADD, 2);
    assert_int_equal(model.queue.length, 10);
    assert_true(model.owners[0].waiting >= 3 && model.owners[1].waiting >= 3 && model.owners[2].waiting >= 3);
    queue_close(&model.queue);
}

static void test_promises_leave_room(void **state)
{
    static struct model model;
    (void)state;
    start(&model, 3, 12, NULL);
    for (int i = 0; i < 12; i++)
        operate(&model, PROMISE, 0);
    assert_int_equal(model.owners[0].waiting, 6);
    for (int i = 0; i < 12; i++)
        operate(&model, PROMISE, 1);
    assert_int_equal(model.owners[1].waiting, 3);
    for (int i = 0; i < 12; i++)
        operate(&model, ADD, 0);
    operate(&model, ADD, 2);
    assert_int_equal(model.owners[2].waiting, 1);
    assert_int_equal(model.owners[0].promised, 6);
    queue_close(&model.queue);
}

/* Numbers at the borders of words of bits, and past the last list. */
static void test_many_places(void **state)
{
    static struct run_queue queue;
    static struct queue_owner owners[2];
    static struct queue_entry entries[2][5000];
    struct queue_entry *ousted;
    (void)state;
    memset(owners, 0, sizeof owners);
    memset(entries, 0, sizeof entries);
    assert_int_equal(queue_open(&queue, 100000, 4096), 0);
    for (int owner = 0; owner < 2; owner++) {
        owners[owner].most = UINT32_MAX;
        for (int i = 0; i < 5000; i++)
            assert_true(queue_add(&queue, &owners[owner], &entries[owner][i], &ousted));
    }
    for (int i = 0; i < 10000; i++) {
        queue_take(&queue, queue_next(&queue, LANE_USUAL));
        assert_true(i > 8192 || owners[0].running - owners[1].running + 1 <= 2);
    }
    assert_null(queue_next(&queue, LANE_USUAL));
    for (int i = 0; i < 5000; i++)
        queue_leave(&queue, &entries[1][i]);
    for (int owner = 0; owner < 2; owner++) {
        entries[1][owner] = (struct queue_entry){0};
        assert_true(queue_add(&queue, &owners[owner], &entries[1][owner], &ousted));
    }
    assert_ptr_equal(queue_next(&queue, LANE_USUAL), &entries[1][1]);
    queue_close(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_short_sequences),
        cmocka_unit_test(test_random_sequences),
        cmocka_unit_test(test_a_newcomer_is_next_however_many_wait),
        cmocka_unit_test(test_places_come_to_be_shared_equally),
        cmocka_unit_test(test_a_full_queue_has_room_for_who_has_less_in_it),
        cmocka_unit_test(test_promises_leave_room),
        cmocka_unit_test(test_many_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
