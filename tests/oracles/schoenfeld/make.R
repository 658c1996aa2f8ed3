# Makes the oracle of tests/test_cox_schoenfeld.py with R's survival package (cox.zph, score test of version 3).
# Run: Rscript make.R   in this folder. Made-up patients only.
library(survival)
set.seed(20)
n <- 240
patients <- data.frame(
  site = sample(c("A", "B", "C"), n, replace = TRUE, prob = c(.5, .3, .2)),
  age = round(rnorm(n, 70, 9)),
  hemoglobin = round(rnorm(n, 9.8, 1.9), 1),
  mutated = rbinom(n, 1, .3))
early <- rexp(n, .25 * exp(.05 * (patients$age - 70) - .1 * (patients$hemoglobin - 9.8) + 1.2 * patients$mutated))
late <- 1 + rexp(n, .25 * exp(.05 * (patients$age - 70) - .1 * (patients$hemoglobin - 9.8) - .6 * patients$mutated))
death <- ifelse(early < 1, early, late) # the effect of the mutation turns round after a year
lost <- runif(n, .3, 7)
patients$time <- pmax(.1, round(pmin(death, lost), 1)) # tenths of a year: many ties
patients$event <- as.integer(death <= lost)
write.csv(patients, "patients.csv", row.names = FALSE)

rows <- list()
for (ties in c("efron", "breslow")) for (strata in c("none", "site")) {
  right <- if (strata == "site") "age + hemoglobin + mutated + strata(site)" else "age + hemoglobin + mutated"
  fit <- coxph(as.formula(paste("Surv(time, event) ~", right)), patients, ties = ties, control = coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 50))
  for (transform in c("identity", "log", "km", "rank")) {
    t <- cox.zph(fit, transform = transform)$table
    rows[[length(rows) + 1]] <- data.frame(ties = ties, strata = strata, transform = transform, feature = rownames(t), chi2 = format(t[, 1], digits = 15), df = t[, 2], p = format(t[, 3], digits = 15))
  }
}
write.csv(do.call(rbind, rows), "cox_zph.csv", row.names = FALSE)
cat("survival", as.character(packageVersion("survival")), R.version.string, "\n", file = "version.txt")

# Means of the scaled residuals (with the coefficient added) in four periods, without strata.
fit <- coxph(Surv(time, event) ~ age + hemoglobin + mutated, patients, control = coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 50))
z <- cox.zph(fit, transform = "identity")
period <- cut(z$time, c(0, .5, 1, 2, Inf))
means <- aggregate(as.data.frame(z$y), list(period = period), mean)
means$events <- as.vector(table(period))
write.csv(cbind(end = c(.5, 1, 2, max(patients$time)), format(means[, -1], digits = 15)), "periods.csv", row.names = FALSE)
