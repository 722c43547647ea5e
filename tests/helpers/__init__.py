"""Models, results and checks that several tests share."""
