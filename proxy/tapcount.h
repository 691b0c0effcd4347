/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which mirrored frame the guest's QEMU has read last: arithmetic over counters. Pure. */
#ifndef PROXY_TAPCOUNT_H
#define PROXY_TAPCOUNT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct tapcount - the common origin of a tap's counters and its mirror's
 * @number: number of the last mirrored frame that was read (or dropped) at the origin
 * @given: number of a frame that the guest is known to have got
 * @held: frames that the tap's owner can have read without giving them to the guest
 *
 * Every frame to the guest is mirrored first, then queued or dropped by the tap, then read, in
 * the same order (proxy/mirror.h), so that frames mirrored = read + dropped + waiting, and frame
 * number
 * @number + read is the last one read, as long as nothing was dropped and the mirror missed
 * nothing.
 */
struct tapcount {
	uint64_t number, given, read, dropped, lost;
	uint32_t held;
};

/**
 * struct tapcount_now - all counters, taken in this order: the tap's @read and @dropped
 * (tap_counters_read()), then @mirrored and @lost after the mirror was read dry
 * @mirrored: number of the last frame that the mirror gave
 * @lost: mirror_lost()
 */
struct tapcount_now {
	uint64_t mirrored, lost, read, dropped;
};

/**
 * struct tapcount_place - where the guest stands in the numbered stream of mirrored frames
 * @at_least: the guest has got all frames up to this number (but for those that were lost before
 * it)
 * @at_most: the guest has got none with a higher number
 * @waiting: frames that wait in the tap, an upper bound
 * @is_exact: @at_most is the last one read, and the bounds differ by no more than what QEMU can
 * hold. Not so after losses, until tapcount_settle() and one more frame
 *
 * To send frames above @at_least again to a copy of the guest loses nothing and may repeat; above
 * @at_most repeats nothing and may lose.
 */
struct tapcount_place {
	uint64_t at_least, at_most, waiting;
	bool is_exact;
};

/**
 * tapcount_start() - set the origin to @now, at which no frame waits in the tap: before the tap
 * is first set up.
 *
 * @held is 1 for a tap that QEMU itself reads: it takes a frame from the tap even if the guest
 * is stopped or its receive ring full, keeps that one and then reads no further until the guest
 * can take it (net/tap.c tap_send(), net/queue.c; seen on 7.2: stopped, it reads one of five
 * frames). 0 with vhost-net. So once a frame has come after QMP "stop" and QEMU's main loop has
 * looked (any later QMP command was answered), exactly one is held and @at_least is where the
 * guest stands.
 */
void tapcount_start(struct tapcount *c, const struct tapcount_now *now, uint32_t held);

/** tapcount_place() - what @now says. */
struct tapcount_place tapcount_place(const struct tapcount *c, const struct tapcount_now *now);

/**
 * tapcount_due() - number of the last frame that left the tap as of @now, of which only @read and
 * @dropped are looked at: its copy waits in the mirror or was read from it before. Too high by what
 * the mirror has lost.
 */
uint64_t tapcount_due(const struct tapcount *c, const struct tapcount_now *now);

/**
 * tapcount_settle() - after losses: if @now proves that no frame waits, make it the origin, so
 * that the bounds meet again; false when frames wait (or counters contradict each other) and the
 * origin stays.
 */
bool tapcount_settle(struct tapcount *c, const struct tapcount_now *now);

#endif
