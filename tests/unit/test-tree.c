// SPDX-License-Identifier: GPL-2.0-or-later
/* The balanced tree: order, links and balance hold after any insertion and removal. */
#include "tests/unit/unit.h"

#include "base/tree.h"

#define NODES 300

struct item {
	struct tree_node node;
	int at; /* place in @order, -1: not in the tree */
};

static struct {
	struct tree tree;
	struct item items[NODES];
	struct item *order[NODES]; /* what the tree must hold */
	int n;
} m;

static struct item *item_of(struct tree_node *n)
{
	return n ? tree_entry(n, struct item, node) : NULL;
}

static void check_node(const struct tree_node *n)
{
	int h[2];

	for (int side = 0; side < 2; side++) {
		h[side] = n->child[side] ? n->child[side]->height : 0;
		if (n->child[side])
			assert_ptr_equal(n->child[side]->parent, n);
	}
	assert_in_range(h[0] - h[1] + 1, 0, 2);
	assert_int_equal(n->height, 1 + MAX(h[0], h[1]));
}

static void check(void)
{
	struct tree_node *n = tree_first(&m.tree);

	if (m.tree.root)
		assert_null(m.tree.root->parent);
	for (int i = 0; i < m.n; i++, n = tree_next(n)) {
		assert_ptr_equal(item_of(n), m.order[i]);
		check_node(n);
	}
	assert_null(n);
	n = tree_last(&m.tree);
	for (int i = m.n; i--; n = tree_prev(n))
		assert_ptr_equal(item_of(n), m.order[i]);
	assert_null(n);
}

/* Behind place @at - 1. */
static void insert(struct item *k, int at)
{
	tree_insert_after(&m.tree, at ? &m.order[at - 1]->node : NULL, &k->node);
	for (int i = m.n++; i > at; i--) {
		m.order[i] = m.order[i - 1];
		m.order[i]->at = i;
	}
	m.order[at] = k;
	k->at = at;
}

static void drop(struct item *k)
{
	int at = k->at;

	tree_remove(&m.tree, &k->node);
	memset(&k->node, 0xa5, sizeof(k->node));
	k->at = -1;
	m.n--;
	for (int i = at; i < m.n; i++) {
		m.order[i] = m.order[i + 1];
		m.order[i]->at = i;
	}
}

static int setup(void **state)
{
	(void)state;
	memset(&m, 0, sizeof(m));
	for (int i = 0; i < NODES; i++)
		m.items[i].at = -1;
	return 0;
}

/* All ways to build a tree of six by insertion at any place, and to take one out again. */
static void every_small_tree_is_right(void **state)
{
	const int n = 6;

	for (int way = 0; way < 1 * 2 * 3 * 4 * 5 * 6; way++)
		for (int out = 0; out < n; out++) {
			setup(state);
			for (int i = 0, rest = way; i < n; rest /= ++i)
				insert(&m.items[i], rest % (i + 1));
			check();
			drop(m.order[out]);
			check();
		}
}

static void order_and_balance_hold_after_any_insertion_and_removal(void **state)
{
	struct rng rng = {1};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		/* Now growing, now shrinking. */
		bool grow = rng_below(&rng, 10) < (i / 2000 % 2 ? 3u : 7u);
		struct item *k = &m.items[rng_below(&rng, NODES)];

		if (k->at < 0 && grow)
			insert(k, (int)rng_below(&rng, (uint64_t)m.n + 1));
		else if (k->at >= 0 && !grow)
			drop(k);
		if (i % 7 == 0)
			check();
	}
}

static void a_row_of_insertions_at_one_end_stays_flat(void **state)
{
	(void)state;
	for (int i = 0; i < NODES; i++)
		insert(&m.items[i], i);
	check();
	assert_in_range(m.tree.root->height, 1, 12); /* 1.44 log2 300 */
	while (m.n)
		drop(m.order[0]);
	assert_null(m.tree.root);
}

static void the_walk_that_frees_looks_at_nothing_freed(void **state)
{
	struct rng rng = {2};
	int n = 0;

	(void)state;
	for (int i = 0; i < NODES; i++)
		insert(&m.items[i], (int)rng_below(&rng, (uint64_t)i + 1));
	for (struct tree_node *k = tree_deepest(&m.tree), *next; k; k = next) {
		next = tree_next_up(k);
		for (int side = 0; side < 2; side++)
			if (k->child[side])
				assert_int_equal(item_of(k->child[side])->at, -1);
		assert_true(item_of(k)->at >= 0);
		item_of(k)->at = -1;
		k->parent = (void *)1;
		n++;
	}
	assert_int_equal(n, NODES);
	assert_null(tree_deepest(&(struct tree){}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_small_tree_is_right),
		cmocka_unit_test_setup(order_and_balance_hold_after_any_insertion_and_removal,
				       setup),
		cmocka_unit_test_setup(a_row_of_insertions_at_one_end_stays_flat, setup),
		cmocka_unit_test_setup(the_walk_that_frees_looks_at_nothing_freed, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
