/* Update rules in one pass, for float and double (`REAL`); the formulas are in xpnet.optim. Absent moments are
 * NULL. */

#define RULE(name, ...) EACH_OF(REAL_NAME(name), REAL, __VA_ARGS__)
#define ARRAY(i) ((REAL *)a[i].p)
#define NUMBER(i) ((REAL)a[i].d)

/* sgd(theta, grad, velocity, first, lr, momentum, 1 - dampening, nesterov, decay) */
RULE(sgd, {
  REAL *restrict theta = ARRAY(0), *restrict velocity = ARRAY(2);
  const REAL *restrict grad = ARRAY(1);
  int first = a[3].i != 0, nesterov = a[7].i != 0;
  REAL lr = NUMBER(4), momentum = NUMBER(5), rest = NUMBER(6), decay = NUMBER(8);
  if (!velocity)
    for (long i = from; i < to; i++) theta[i] -= lr * (grad[i] + decay * theta[i]);
  else
    for (long i = from; i < to; i++) {
      REAL g = grad[i] + decay * theta[i], v = first ? g : momentum * velocity[i] + rest * g;
      velocity[i] = v;
      theta[i] -= lr * (nesterov ? g + momentum * v : v);
    }
})

/* adagrad(theta, grad, total, lr, eps, inside, decay) */
RULE(adagrad, {
  REAL *restrict theta = ARRAY(0), *restrict total = ARRAY(2);
  const REAL *restrict grad = ARRAY(1);
  REAL lr = NUMBER(3), within = a[5].i ? NUMBER(4) : 0, beside = a[5].i ? 0 : NUMBER(4), decay = NUMBER(6);
  for (long i = from; i < to; i++) {
    REAL g = grad[i] + decay * theta[i], s = total[i] + g * g;
    total[i] = s;
    theta[i] -= lr * g / (ROOT(s + within) + beside);
  }
})

/* adadelta(theta, grad, square, delta, lr, rho, 1 - rho, eps, decay) */
RULE(adadelta, {
  REAL *restrict theta = ARRAY(0), *restrict square = ARRAY(2), *restrict delta = ARRAY(3);
  const REAL *restrict grad = ARRAY(1);
  REAL lr = NUMBER(4), rho = NUMBER(5), rest = NUMBER(6), eps = NUMBER(7), decay = NUMBER(8);
  for (long i = from; i < to; i++) {
    REAL g = grad[i] + decay * theta[i], s = rho * square[i] + rest * g * g;
    REAL d = ROOT(delta[i] + eps) / ROOT(s + eps) * g;
    square[i] = s;
    delta[i] = rho * delta[i] + rest * d * d;
    theta[i] -= lr * d;
  }
})

/* rmsprop(theta, grad, square, velocity, average, lr, alpha, 1 - alpha, eps, inside, momentum, decay) */
RULE(rmsprop, {
  REAL *restrict theta = ARRAY(0), *restrict square = ARRAY(2), *restrict velocity = ARRAY(3);
  REAL *restrict average = ARRAY(4);
  const REAL *restrict grad = ARRAY(1);
  REAL lr = NUMBER(5), alpha = NUMBER(6), rest = NUMBER(7), momentum = NUMBER(10), decay = NUMBER(11);
  REAL within = a[9].i ? NUMBER(8) : 0, beside = a[9].i ? 0 : NUMBER(8);
  for (long i = from; i < to; i++) {
    REAL g = grad[i] + decay * theta[i], s = alpha * square[i] + rest * g * g;
    square[i] = s;
    if (average) {
      REAL m = average[i] + rest * (g - average[i]);
      average[i] = m;
      s -= m * m;
    }
    REAL d = g / (ROOT(s + within) + beside);
    if (velocity) velocity[i] = d = momentum * velocity[i] + d;
    theta[i] -= lr * d;
  }
})

/* adam(theta, grad, mean, square, largest, size, root, 1 - b1, b2, 1 - b2, eps, decay, shrink):
 * size = lr / (1 - b1^t), root = 1 / sqrt(1 - b2^t), shrink = 1 - lr * decoupled decay */
RULE(adam, {
  REAL *restrict theta = ARRAY(0), *restrict mean = ARRAY(2), *restrict square = ARRAY(3), *restrict largest = ARRAY(4);
  const REAL *restrict grad = ARRAY(1);
  REAL size = NUMBER(5), root = NUMBER(6), rest1 = NUMBER(7), beta2 = NUMBER(8), rest2 = NUMBER(9), eps = NUMBER(10);
  REAL decay = NUMBER(11), shrink = NUMBER(12);
  for (long i = from; i < to; i++) {
    REAL w = theta[i] * shrink, g = grad[i] + decay * w;
    REAL m = mean[i] + rest1 * (g - mean[i]), v = beta2 * square[i] + rest2 * (g * g);
    mean[i] = m;
    square[i] = v;
    if (largest) largest[i] = v = largest[i] > v || largest[i] != largest[i] ? largest[i] : v;
    theta[i] = w - size * m / (ROOT(v) * root + eps);
  }
})

#undef RULE
#undef ARRAY
#undef NUMBER
#undef REAL
#undef REAL_NAME
#undef ROOT
