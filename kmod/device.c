// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door to user space: /dev/page_alloc_bench, as page_alloc_bench.h says.
 */
#include <linux/bits.h>
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "pattern.h"
#include "session.h"
#include "worker.h"

/* One session at a time: two would measure each other. */
static atomic_t pab_open_sessions = ATOMIC_INIT(0);

static int pab_open(struct inode *inode, struct file *file)
{
	struct pab_session *session;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (atomic_cmpxchg(&pab_open_sessions, 0, 1))
		return -EBUSY;
	session = pab_session_create();
	if (!session) {
		atomic_set(&pab_open_sessions, 0);
		return -ENOMEM;
	}
	file->private_data = session;
	return nonseekable_open(inode, file);
}

static int pab_release(struct inode *inode, struct file *file)
{
	pab_session_destroy(file->private_data);
	atomic_set(&pab_open_sessions, 0);
	return 0;
}

static long pab_info(struct pab_session *session, void __user *argument)
{
	const struct pab_info info = {
		.abi_version	= PAB_ABI_VERSION,
		.page_shift	= PAGE_SHIFT,
		.max_order	= PAB_MAX_ORDER,
		.pattern_count	= pab_pattern_count(),
		.hist_buckets	= PAB_HIST_BUCKETS,
		.hist_sub_bits	= PAB_HIST_SUB_BITS,
	};

	return copy_to_user(argument, &info, sizeof(info)) ? -EFAULT : 0;
}

static long pab_describe(struct pab_session *session, void __user *argument)
{
	const struct pab_pattern *pattern;
	struct pab_pattern_info info;
	u32 number;

	if (get_user(number, &((struct pab_pattern_info __user *)argument)->pattern))
		return -EFAULT;
	pattern = pab_pattern_by_number(number);
	if (!pattern)
		return -EINVAL;
	memset(&info, 0, sizeof(info));
	info.pattern = number;
	pab_pattern_describe(pattern, &info);
	return copy_to_user(argument, &info, sizeof(info)) ? -EFAULT : 0;
}

static long pab_configure(struct pab_session *session, void __user *argument)
{
	struct pab_config config;

	if (copy_from_user(&config, argument, sizeof(config)))
		return -EFAULT;
	return pab_session_configure(session, &config);
}

static long pab_start(struct pab_session *session, void __user *unused)
{
	return pab_session_start(session);
}

static long pab_stop(struct pab_session *session, void __user *unused)
{
	pab_session_stop(session);
	return 0;
}

static long pab_watch_oom(struct pab_session *session, void __user *unused)
{
	pab_session_watch_oom(session);
	return 0;
}

static long pab_progress(struct pab_session *session, void __user *argument)
{
	struct pab_progress progress;

	pab_session_progress(session, &progress);
	return copy_to_user(argument, &progress, sizeof(progress)) ? -EFAULT : 0;
}

static long pab_cpu_stats(struct pab_session *session, void __user *argument)
{
	const struct pab_worker *worker;
	struct pab_cpu_stats stats;

	if (copy_from_user(&stats, argument, sizeof(stats)))
		return -EFAULT;
	worker = pab_session_worker(session, stats.cpu);
	if (!worker)
		return -EINVAL;

	stats = (struct pab_cpu_stats) {
		.cpu		= worker->cpu,
		.node		= worker->node,
		.last_cpu	= READ_ONCE(worker->last_cpu),
		.steady		= READ_ONCE(worker->steady),
		.displaced	= READ_ONCE(worker->displaced),
		.finished	= READ_ONCE(worker->finished),
		.charged	= READ_ONCE(worker->charged),
		/* With the worker's release: frees of its own blocks never exceed allocs. */
		.frees		= smp_load_acquire(&worker->frees),
		.failures	= READ_ONCE(worker->failures),
		.remote		= READ_ONCE(worker->remote),
		.shortfalls	= READ_ONCE(worker->shortfalls),
		.clock_cost_ps	= READ_ONCE(worker->clock_cost_ps),
		.clock_step_ns	= READ_ONCE(worker->clock_step_ns),
		.begin_ns	= READ_ONCE(worker->begin_ns),
		.end_ns		= READ_ONCE(worker->end_ns),
	};
	stats.allocs = READ_ONCE(worker->allocs);
	return copy_to_user(argument, &stats, sizeof(stats)) ? -EFAULT : 0;
}

/* Copy the sample out, unless the histogram alone is wanted; count what was written. */
static long pab_copy_sample(const struct pab_latencies *latencies, struct pab_latency *request)
{
	bool wanted = request->sample || request->sample_size;

	if (wanted && request->sample_size < latencies->sample_capacity)
		return -EINVAL;
	request->sample_size = wanted ? latencies->sample_size : 0;
	return copy_to_user(u64_to_user_ptr(request->sample), latencies->sample,
			    request->sample_size * sizeof(u64)) ? -EFAULT : 0;
}

/* Word by word: a worker may be counting. */
static long pab_copy_histogram(const struct pab_latencies *latencies, u64 __user *to)
{
	unsigned int i;

	for (i = 0; i < PAB_HIST_BUCKETS; i++)
		if (put_user(READ_ONCE(latencies->histogram[i]), to + i))
			return -EFAULT;
	return 0;
}

static long pab_latency(struct pab_session *session, void __user *argument)
{
	const struct pab_latencies *latencies;
	const struct pab_worker *worker;
	struct pab_latency request;
	long err;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	worker = pab_session_worker(session, request.cpu);
	if (!worker || request.operation >= worker->operation_count || request.reserved)
		return -EINVAL;
	if (session->state == PAB_STATE_RUNNING && (request.sample || request.sample_size))
		return -EBADFD;
	latencies = &worker->latencies[request.operation];
	err = pab_copy_sample(latencies, &request);
	if (err)
		return err;
	request.timed = READ_ONCE(latencies->timed);
	request.total_ns = READ_ONCE(latencies->total_ns);
	request.max_ns = READ_ONCE(latencies->max_ns);
	err = pab_copy_histogram(latencies, u64_to_user_ptr(request.histogram));
	if (err)
		return err;
	return copy_to_user(argument, &request, sizeof(request)) ? -EFAULT : 0;
}

#define PAB_IN(state)		BIT(PAB_STATE_##state)
#define PAB_WHILE_IDLE		(PAB_IN(NEW) | PAB_IN(CONFIGURED) | PAB_IN(STOPPED))
#define PAB_AT_ANY_TIME		(PAB_WHILE_IDLE | PAB_IN(RUNNING))

/* Which call is allowed in which states, and what makes it. */
static const struct pab_call {
	unsigned int	request;
	unsigned int	states;
	long		(*make)(struct pab_session *session, void __user *argument);
} pab_calls[] = {
	{ PAB_IOC_INFO,		PAB_AT_ANY_TIME,	pab_info },
	{ PAB_IOC_PATTERN,	PAB_AT_ANY_TIME,	pab_describe },
	{ PAB_IOC_PROGRESS,	PAB_AT_ANY_TIME,	pab_progress },
	{ PAB_IOC_CPU_STATS,	PAB_AT_ANY_TIME,	pab_cpu_stats },
	{ PAB_IOC_CONFIGURE,	PAB_WHILE_IDLE,		pab_configure },
	{ PAB_IOC_LATENCY,	PAB_AT_ANY_TIME,	pab_latency },
	{ PAB_IOC_START,	PAB_IN(CONFIGURED),	pab_start },
	{ PAB_IOC_STOP,		PAB_IN(RUNNING),	pab_stop },
	{ PAB_IOC_WATCH_OOM,	PAB_IN(RUNNING),	pab_watch_oom },
};

static long pab_dispatch(struct pab_session *session, unsigned int request,
			 void __user *argument)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pab_calls); i++) {
		const struct pab_call *call = &pab_calls[i];

		if (call->request == request)
			return call->states & BIT(session->state) ?
			       call->make(session, argument) : -EBADFD;
	}
	return -ENOTTY;
}

static long pab_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct pab_session *session = file->private_data;
	long ret;

	/* Whoever has a descriptor need not be who opened the file. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (mutex_lock_killable(&session->lock))
		return -EINTR;
	ret = pab_dispatch(session, request, (void __user *)argument);
	mutex_unlock(&session->lock);
	return ret;
}

static const struct file_operations pab_fops = {
	.owner		= THIS_MODULE,
	.open		= pab_open,
	.release	= pab_release,
	.unlocked_ioctl	= pab_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice pab_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= PAB_DEVICE_NAME,
	.mode	= 0600,
	.fops	= &pab_fops,
};

static int __init pab_init(void)
{
	return misc_register(&pab_device);
}

/*
 * A session holds a reference to the module, so normally there is none here. But
 * "rmmod -f", where the kernel has CONFIG_MODULE_FORCE_UNLOAD, comes here in
 * spite of it, and the module's code is gone when this returns: wait for the
 * session to end. It goes on undisturbed, and no other can begin.
 */
static void __exit pab_exit(void)
{
	misc_deregister(&pab_device);
#ifdef CONFIG_MODULE_UNLOAD
	while (module_refcount(THIS_MODULE) > 0)
		schedule_timeout_idle(HZ / 20);
	/* Whoever put the last reference may still be in module_put(). */
	synchronize_rcu();
#endif
}

module_init(pab_init);
module_exit(pab_exit);

MODULE_DESCRIPTION("Page allocator benchmark: kernel workers that allocate and free pages");
MODULE_LICENSE("GPL");
