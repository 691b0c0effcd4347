// SPDX-License-Identifier: GPL-2.0-or-later
/* Balanced binary tree (AVL), intrusive. */
#include "base/tree.h"

static int height(const struct tree_node *n)
{
	return n ? n->height : 0;
}

static void set_height(struct tree_node *n)
{
	n->height = 1 + MAX(height(n->child[0]), height(n->child[1]));
}

/* @node, which may be NULL, stands where @old stood below @parent. */
static void replace(struct tree *t, struct tree_node *parent, const struct tree_node *old,
		    struct tree_node *node)
{
	if (!parent)
		t->root = node;
	else
		parent->child[parent->child[1] == old] = node;
	if (node)
		node->parent = parent;
}

/* @n sinks to side @d, the child of the other side takes its place; returns that. */
static struct tree_node *rotate(struct tree *t, struct tree_node *n, int d)
{
	struct tree_node *up = n->child[!d], *inner = up->child[d];

	replace(t, n->parent, n, up);
	up->child[d] = n;
	n->parent = up;
	n->child[!d] = inner;
	if (inner)
		inner->parent = n;
	set_height(n);
	set_height(up);
	return up;
}

/* From @n upwards, as far as heights have changed. */
static void rebalance(struct tree *t, struct tree_node *n)
{
	while (n) {
		int lean = height(n->child[1]) - height(n->child[0]), was = n->height;

		if (lean < -1 || lean > 1) {
			int heavy = lean > 0;
			struct tree_node *c = n->child[heavy];

			if (height(c->child[!heavy]) > height(c->child[heavy]))
				rotate(t, c, heavy);
			n = rotate(t, n, !heavy);
		} else {
			set_height(n);
		}
		if (n->height == was)
			return;
		n = n->parent;
	}
}

static struct tree_node *outermost(struct tree_node *n, int side)
{
	while (n && n->child[side])
		n = n->child[side];
	return n;
}

void tree_insert_after(struct tree *t, struct tree_node *at, struct tree_node *node)
{
	struct tree_node *parent = at;
	int side = 1;

	if (!at || at->child[1]) {
		parent = outermost(at ? at->child[1] : t->root, 0);
		side = 0;
	}
	*node = (struct tree_node){.parent = parent, .height = 1};
	if (!parent) {
		t->root = node;
		return;
	}
	parent->child[side] = node;
	rebalance(t, parent);
}

/* @n has two children: the next in order, which has at most one, takes its place. */
static struct tree_node *replace_by_next(struct tree *t, struct tree_node *n)
{
	struct tree_node *s = outermost(n->child[1], 0), *lowest = s;

	if (s->parent != n) {
		lowest = s->parent;
		replace(t, lowest, s, s->child[1]);
		s->child[1] = n->child[1];
		s->child[1]->parent = s;
	}
	replace(t, n->parent, n, s);
	s->child[0] = n->child[0];
	s->child[0]->parent = s;
	s->height = n->height;
	return lowest;
}

void tree_remove(struct tree *t, struct tree_node *node)
{
	struct tree_node *lowest = node->parent;

	if (node->child[0] && node->child[1])
		lowest = replace_by_next(t, node);
	else
		replace(t, node->parent, node, node->child[!node->child[0]]);
	rebalance(t, lowest);
}

struct tree_node *tree_first(const struct tree *t)
{
	return outermost(t->root, 0);
}

struct tree_node *tree_last(const struct tree *t)
{
	return outermost(t->root, 1);
}

static struct tree_node *step(const struct tree_node *n, int side)
{
	if (n->child[side])
		return outermost(n->child[side], !side);
	while (n->parent && n->parent->child[side] == n)
		n = n->parent;
	return n->parent;
}

struct tree_node *tree_next(const struct tree_node *node)
{
	return step(node, 1);
}

struct tree_node *tree_prev(const struct tree_node *node)
{
	return step(node, 0);
}

static struct tree_node *leaf_below(struct tree_node *n)
{
	while (n && (n->child[0] || n->child[1]))
		n = n->child[!n->child[0]];
	return n;
}

struct tree_node *tree_deepest(const struct tree *t)
{
	return leaf_below(t->root);
}

struct tree_node *tree_next_up(const struct tree_node *node)
{
	struct tree_node *parent = node->parent;

	if (parent && parent->child[0] == node && parent->child[1])
		return leaf_below(parent->child[1]);
	return parent;
}
