// SPDX-License-Identifier: GPL-2.0-or-later
/* The comparing core's connections at their end: when a RST needs no other. */
#include "tests/unit/compare-rig.h"

#define FIN    (TCP_FIN | TCP_ACK)
#define SYNACK (TCP_SYN | TCP_ACK)

static void primary_sends(struct rig *r, uint32_t id, unsigned flags, uint32_t seq, size_t n)
{
	rig_tcp(r, flags, seq, flags & TCP_ACK ? 50 : 0, 0, n);
	rig_primary(r, id);
}

static void secondary_sends(struct rig *r, unsigned flags, uint32_t seq, size_t n)
{
	rig_tcp(r, flags, seq, 50, 0, n);
	rig_secondary(r);
}

static void client_closes(struct rig *r)
{
	rig_inbound(r, FIN, 50, 121);
}

/* An answer of 20 bytes from 100 on, and the end: the next is 121. */
static struct rig *answered(void)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	primary_sends(r, 1, FIN, 100, 20);
	secondary_sends(r, FIN, 100, 20);
	rig_saw(r, "1");
	return r;
}

static void after_both_ends_a_reset_needs_no_other(void **state)
{
	struct rig *r = answered();

	(void)state;
	client_closes(r);
	primary_sends(r, 2, TCP_RST, 121, 0);
	rig_saw(r, "2");
	rig_free(r);
}

static void one_that_comes_before_the_clients_end_is_seen_goes_with_it(void **state)
{
	struct rig *r = answered();

	(void)state;
	primary_sends(r, 2, TCP_RST, 121, 0);
	rig_saw(r, "");
	rig_inbound(r, TCP_ACK, 50, 121);
	rig_saw(r, "");
	client_closes(r);
	rig_saw(r, "2");
	rig_free(r);
}

static void while_the_client_goes_on_it_waits(void **state)
{
	struct rig *r = answered();

	(void)state;
	primary_sends(r, 2, TCP_RST, 121, 0);
	compare_tick(r->c, r->now + r->limits.timeout_us);
	rig_saw(r, "!timeout");
	rig_free(r);
}

static void while_the_guests_have_not_both_ended_it_waits(void **state)
{
	struct rig *r = rig_new(NULL, COMPARE_MATCH);

	(void)state;
	primary_sends(r, 1, FIN, 100, 20);
	client_closes(r);
	primary_sends(r, 2, TCP_RST, 121, 0);
	secondary_sends(r, TCP_ACK, 100, 20);
	rig_saw(r, "");
	secondary_sends(r, FIN, 120, 0);
	rig_saw(r, "1 2");
	rig_free(r);
}

static void acknowledge(struct rig *r, uint32_t id, uint32_t ack)
{
	rig_tcp(r, TCP_ACK, 121, ack, 0, 0);
	rig_primary(r, id);
}

static void a_reset_of_the_secondary_answers_the_clients_end_but_no_data(void **state)
{
	struct rig *r = answered();

	(void)state;
	acknowledge(r, 2, 51);
	acknowledge(r, 3, 52);
	client_closes(r);
	rig_saw(r, "");
	secondary_sends(r, TCP_RST, 121, 0);
	rig_saw(r, "2");
	rig_free(r);
}

static void a_reset_of_the_secondary_alone_answers_nothing(void **state)
{
	struct rig *r = answered();

	(void)state;
	acknowledge(r, 2, 51);
	secondary_sends(r, TCP_RST, 121, 0);
	rig_saw(r, "");
	rig_free(r);
}

/* S1: what ended the connection may not have happened. */
static void while_a_checkpoint_is_not_committed_it_waits(void **state)
{
	struct rig *r = answered();

	(void)state;
	rig_close(r, COMPARE_MATCH);
	primary_sends(r, 2, TCP_RST, 121, 0);
	client_closes(r);
	rig_saw(r, "");
	rig_commit(r);
	rig_saw(r, "2");
	primary_sends(r, 3, TCP_RST, 121, 0);
	rig_saw(r, "3");
	rig_free(r);
}

static void that_of_a_new_connection_waits(void **state)
{
	struct rig *r = answered();

	(void)state;
	client_closes(r);
	primary_sends(r, 2, SYNACK, 5000, 0);
	secondary_sends(r, SYNACK, 7000, 0);
	primary_sends(r, 3, TCP_RST, 5001, 0);
	rig_saw(r, "2");
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_both_ends_a_reset_needs_no_other),
		cmocka_unit_test(one_that_comes_before_the_clients_end_is_seen_goes_with_it),
		cmocka_unit_test(while_the_client_goes_on_it_waits),
		cmocka_unit_test(while_the_guests_have_not_both_ended_it_waits),
		cmocka_unit_test(a_reset_of_the_secondary_answers_the_clients_end_but_no_data),
		cmocka_unit_test(a_reset_of_the_secondary_alone_answers_nothing),
		cmocka_unit_test(while_a_checkpoint_is_not_committed_it_waits),
		cmocka_unit_test(that_of_a_new_connection_waits),
	};

	return cmocka_run_group_tests_name("compare-close", tests, NULL, NULL);
}
