/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Balanced binary tree (AVL), intrusive: order is the caller's business, who walks it down himself. */
#ifndef BASE_TREE_H
#define BASE_TREE_H

#include "base/util.h"

/**
 * struct tree_node - child[0] and all below it stand before the node, child[1] and all below behind
 *
 * Nothing here recurses; insertion, removal and steps are O(log n) at worst, a walk over all nodes
 * O(n).
 */
struct tree_node {
	struct tree_node *parent, *child[2];
	int height;
};

struct tree {
	struct tree_node *root;
};

/** tree_insert_after() - put @node right behind @at, which is in the tree; NULL: before all. */
void tree_insert_after(struct tree *t, struct tree_node *at, struct tree_node *node);

void tree_remove(struct tree *t, struct tree_node *node);

/** tree_first(), tree_last() - NULL in an empty tree. */
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_last(const struct tree *t);

/** tree_next(), tree_prev() - NULL at the end. */
struct tree_node *tree_next(const struct tree_node *node);
struct tree_node *tree_prev(const struct tree_node *node);

/**
 * tree_deepest(), tree_next_up() - a walk on which each node comes after all below it and is not
 * looked at any more when the next one was asked for: to free all without removing each.
 */
struct tree_node *tree_deepest(const struct tree *t);
struct tree_node *tree_next_up(const struct tree_node *node);

#define tree_entry(ptr, type, member) container_of(ptr, type, member)

#endif
