# Oracle for tests/test_performance.py: recalibration of predicted survival by R's survival package.
# Run from this folder: Rscript recalibration.R   (R 4, survival 3.5, splines; made-up patients only)
library(survival)
library(splines)
set.seed(20)
n <- 600
site <- sample(c("A", "B", "C"), n, replace = TRUE, prob = c(.5, .3, .2))
x <- rnorm(n)
death <- rexp(n, .25 * exp(.8 * x + .3 * x^2 * (x > 0)))
lost <- runif(n, .5, 9)
time <- round(pmin(death, lost), 2) + .01            # two decimals: ties
event <- as.integer(death <= lost)
rate <- .3 * exp(x)                                   # what the model says
horizon <- 2
alive <- exp(-rate * horizon)
d <- data.frame(site, time, event, alive, lived = exp(-rate * pmin(time, horizon)))
write.csv(format(d, digits = 15), "patients.csv", row.names = FALSE, quote = FALSE)

cut <- data.frame(t = pmin(time, horizon), e = event * (time <= horizon), x = log(-log(alive)), site)
out <- data.frame(what = character(), value = numeric())
add <- function(what, value) out[nrow(out) + 1, ] <<- list(what, value)

# slope: stratified Cox regression on the index
for (stratified in c(TRUE, FALSE)) {
  fit <- if (stratified) coxph(Surv(t, e) ~ x + strata(site), cut, control = coxph.control(eps = 1e-12, toler.chol = 1e-14)) else coxph(Surv(t, e) ~ x, cut, control = coxph.control(eps = 1e-12, toler.chol = 1e-14))
  add(if (stratified) "slope in sites" else "slope", coef(fit)[[1]])
  add(if (stratified) "slope in sites se" else "slope se", sqrt(vcov(fit)[1, 1]))
}

# intercept: Poisson regression with the predicted cumulative hazard as offset (Crowson 2016)
fit <- glm(e ~ 1 + offset(log(-log(d$lived))), family = poisson, data = cut, control = glm.control(epsilon = 1e-14))
add("intercept", coef(fit)[[1]])
add("intercept se", sqrt(vcov(fit)[1, 1]))

# curve: Cox regression on a natural cubic spline with three knots, stratified; observed risk from survfit
m <- mean(cut$x)
s <- sqrt(mean(cut$x^2) - m^2)
k <- m + s * qnorm(c(.1, .5, .9))
for (stratified in c(TRUE, FALSE)) {
  basis <- ns(cut$x, knots = k[2], Boundary.knots = k[c(1, 3)])
  c2 <- data.frame(cut, b1 = basis[, 1], b2 = basis[, 2])
  fit <- if (stratified) coxph(Surv(t, e) ~ b1 + b2 + strata(site), c2, control = coxph.control(eps = 1e-12, toler.chol = 1e-14)) else coxph(Surv(t, e) ~ b1 + b2, c2, control = coxph.control(eps = 1e-12, toler.chol = 1e-14))
  base <- basehaz(fit, centered = FALSE)
  if (!stratified) base$strata <- "all"
  last <- tapply(seq_len(nrow(base)), as.character(base$strata), function(i) base$hazard[max(i[base$time[i] <= horizon])])
  f <- drop(as.matrix(c2[, c("b1", "b2")]) %*% coef(fit))
  H <- if (stratified) as.numeric(last[site]) else rep(last[[1]], n)
  away <- abs((1 - exp(-H * exp(f))) - (1 - alive))
  name <- if (stratified) " in sites" else ""
  add(paste0("ici", name), mean(away))
  add(paste0("e50", name), median(away))
  add(paste0("e90", name), quantile(away, .9)[[1]])
}

# net benefit and reclassification by Kaplan-Meier
km <- function(keep) summary(survfit(Surv(time[keep], event[keep]) ~ 1), times = horizon, extend = TRUE)$surv
for (p in c(.2, .4, .6)) {
  keep <- 1 - alive >= p
  S <- km(keep)
  add(paste("net benefit", p), (1 - S) * mean(keep) - S * mean(keep) * p / (1 - p))
}
other <- exp(-.3 * horizon * exp(.4 * x))             # a timid model, to move away from
up <- (1 - alive) > (1 - other); down <- (1 - alive) < (1 - other)
E <- 1 - km(rep(TRUE, n))
add("nri events", ((1 - km(up)) * mean(up) - (1 - km(down)) * mean(down)) / E)
add("nri nonevents", (km(down) * mean(down) - km(up) * mean(up)) / (1 - E))
write.csv(format(out, digits = 15), "values.csv", row.names = FALSE, quote = FALSE)
